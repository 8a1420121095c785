"""That EnvPool's tasks are the official ones: the evidence behind `pbrl.envs.envpool_parity`.

EnvPool's simulator cannot be brought into a given state, but the official one can: a start of an
episode in EnvPool is looked up in the official task from its observation (the goal and object
position of Meta-World, joint positions and velocities elsewhere), and from there both get the
same actions. Where the start cannot be seen from the observation, and for what follows the first
contact in Meta-World, the returns of one policy are compared as samples.
"""

from dataclasses import dataclass

import mujoco
import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.stats import ks_2samp

from pbrl import envs
from pbrl.envs.envpool_parity import AGREES, DIFFERS

pytest.importorskip("envpool", reason="the extra pbrl[envpool] is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.*is not known to be the official task")

SLACK = 0.3  # limits of joints are soft
# Numbers of a DMC model that are drawn at every reset: field, object, kind of object, axes.
MOVED_PARTS = {
    "finger": ("site_pos", "target", mujoco.mjtObj.mjOBJ_SITE, (0, 2)),
    "fish": ("geom_pos", "target", mujoco.mjtObj.mjOBJ_GEOM, (0, 1, 2)),
    "reacher": ("geom_pos", "target", mujoco.mjtObj.mjOBJ_GEOM, (0, 1)),
    "swimmer": ("geom_pos", "target", mujoco.mjtObj.mjOBJ_GEOM, (0, 1)),
}


@dataclass(frozen=True)
class Steps:
    """What happened: observations [time + 1, env, obs], the rest [time, env, ...]."""

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    success: np.ndarray


def make(env_id, num_envs, backend, **options):
    return envs.make(env_id, num_envs, backend=backend, **options)


def roll(env, choose_actions, num_steps, observations=None):
    """Step until `num_steps`; the observation after the end of an episode is the true one."""
    if observations is None:
        observations = env.reset()[0]
    seen, steps = [observations], []
    for _ in range(num_steps):
        actions = choose_actions(observations)
        observations, rewards, terminated, _, infos = env.step(actions)
        seen.append(envs.final_observations(observations, infos))
        success = infos.get("success", np.zeros(env.num_envs, np.bool_))
        steps.append((actions, rewards, terminated, success))
    return Steps(np.stack(seen), *(np.stack(parts) for parts in zip(*steps, strict=True)))


def random_actions(env, seed=0):
    rng = np.random.default_rng(seed)
    return lambda _: rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)


def replay(official, steps, index):
    """Give the official environment, already in its state, the actions of one sub-environment."""
    actions = iter(steps.actions[:, index : index + 1])
    start = steps.observations[:1, index]
    return roll(official, lambda _: next(actions), len(steps.actions), start)


def observation_error(ours, theirs):
    """Largest difference of an observation, relative to its largest entry; per step."""
    scale = 1.0 + np.abs(theirs).max(-1)
    return np.abs(ours - theirs).max(-1) / scale


def linear_actions(env, seed=0):
    """A random linear policy for each sub-environment: they visit more than random actions do."""
    rng = np.random.default_rng(seed)
    num_envs, num_actions = env.action_space.shape
    weights = rng.normal(size=(num_envs, num_actions, env.single_observation_space.shape[0]))
    bias = rng.normal(size=env.action_space.shape)
    return lambda seen: np.tanh(np.einsum("noi,ni->no", weights, seen) + bias).astype(np.float32)


# Gymnasium and the control suite: the state is solved for.


class Solver:
    """Find the state of a simulator from an observation, by least squares."""

    def __init__(self, env_id, **options):
        self.env = make(env_id, 1, "official", **options)
        self.env.reset()
        self.source, task = env_id.split("/")
        lane = self.env.lanes[0].env
        if self.source == "gym":
            simulator = lane.unwrapped
            self.model, self.data = simulator.model, simulator.data
            self.observe = simulator._get_obs
        else:
            self.model, self.data = lane.physics.model.ptr, lane.physics.data.ptr
            self.observe = lambda: np.concatenate(
                [np.ravel(part) for part in lane.task.get_observation(lane.physics).values()]
            )
            self.reward = lambda: lane.task.get_reward(lane.physics)
        self.moved = []
        domain, _, name = task.partition("-")
        has_target = name not in ("spin", "upright")
        if self.source == "dmc" and domain in MOVED_PARTS and has_target:
            field, part, kind, axes = MOVED_PARTS[domain]
            row = mujoco.mj_name2id(self.model, kind, part)
            self.moved = [(getattr(self.model, field)[row], axis) for axis in axes]
        is_hinge = self.model.jnt_type == mujoco.mjtJoint.mjJNT_HINGE
        # Gymnasium shows angles themselves, and starts some joints out of their range.
        self.is_limited = is_hinge & (self.model.jnt_limited == 1) & (self.source == "dmc")

    def _write(self, x, start):
        positions, velocities, moved = np.split(x, [self.model.nq, self.model.nq + self.model.nv])
        self.data.qpos[:], self.data.qvel[:] = start + positions, velocities
        for (vector, axis), value in zip(self.moved, moved, strict=True):
            vector[axis] = value
        mujoco.mj_forward(self.model, self.data)

    def _outside(self):
        """How far limited joints are from their range: of angles that look alike, one is there."""
        joints = np.flatnonzero(self.is_limited)
        low, high = self.model.jnt_range[joints].T
        at = self.data.qpos[self.model.jnt_qposadr[joints]]
        return np.maximum(at - high - SLACK, 0) + np.minimum(at - low + SLACK, 0)

    def solve(self, observation, control=None, num_tries=8):
        """Go to the state; return how far its observation is from the one wanted."""
        best = None
        for _ in range(num_tries):
            self.env.reset()
            if control is not None:
                self.data.ctrl[:] = control
            start = self.data.qpos.copy()
            guess = [vector[axis] for vector, axis in self.moved]

            def residual(x, start=start):
                self._write(x, start)
                return np.concatenate([self.observe() - observation, 0.1 * self._outside()])

            x = np.concatenate([np.zeros(self.model.nq + self.model.nv), guess])
            found = least_squares(residual, x, xtol=1e-12, ftol=1e-12, gtol=1e-12, max_nfev=60)
            if best is None or found.cost < best[0]:
                best = (found.cost, found.x, start)
            if best[0] < 1e-10:
                break
        self._write(*best[1:])
        return np.sqrt(2 * best[0])


class ClassicControl:
    """Classic control with the solver's interface: the observation says the state outright."""

    def __init__(self, env_id):
        self.env = make(env_id, 1, "official")
        self.env.reset()

    def solve(self, observation):
        simulator = self.env.lanes[0].env.unwrapped
        if len(observation) == 3:  # the pendulum shows cosine, sine and velocity
            cosine, sine, velocity = observation
            observation = np.array([np.arctan2(sine, cosine), velocity])
        simulator.state = observation
        return 0.0


def solver_of(env_id):
    is_classic = env_id in ("gym/Pendulum-v1", "gym/MountainCarContinuous-v0")
    return ClassicControl(env_id) if is_classic else Solver(env_id)


def solved_replay(env_id, num_steps=25, num_envs=4):
    """Errors [env] of observations and rewards after an equal start, and whether ends agree."""
    env = make(env_id, num_envs, "envpool", seed=5)
    steps = roll(env, random_actions(env), num_steps)
    solver = solver_of(env_id)
    observations, rewards, ends = [], [], []
    for index in range(num_envs):
        if solver.solve(steps.observations[0, index].astype(np.float64)) > 1e-4:
            continue
        theirs = replay(solver.env, steps, index)
        ended = steps.terminated[:, index] | theirs.terminated[:, 0]
        stop = int(ended.argmax()) + 1 if ended.any() else num_steps
        error = observation_error(steps.observations[:, index], theirs.observations[:, 0])
        observations.append(error[: stop + 1].max())
        rewards.append(np.abs(steps.rewards[:, index] - theirs.rewards[:, 0])[:stop].max())
        ends.append((steps.terminated[:stop, index] == theirs.terminated[:stop, 0]).all())
    assert len(rewards) >= num_envs - 1, f"{env_id}: starts not found"
    env.close()
    return np.array(observations), np.array(rewards), np.array(ends)


def visited_rewards(env_id, num_steps=1000, num_envs=64, num_states=8):
    """Errors of the reward in states visited later, and the largest reward among them.

    Half of the states are among those with the highest rewards.
    """
    env = make(env_id, num_envs, "envpool", seed=6)
    steps = roll(env, linear_actions(env), num_steps)
    solver = Solver(env_id)
    low, high = solver.model.actuator_ctrlrange.T
    order = np.argsort(steps.rewards, axis=None)
    best = order[-(4 ** np.arange(num_states // 2))]
    chosen = np.concatenate([best, order[:: 2 * len(order) // num_states]])
    errors = []
    for time, index in zip(*np.unravel_index(chosen, steps.rewards.shape), strict=True):
        control = low + (steps.actions[time, index] + 1) / 2 * (high - low)
        state = steps.observations[time + 1, index].astype(np.float64)
        if solver.solve(state, control) < 1e-4:
            errors.append(abs(solver.reward() - steps.rewards[time, index]))
    assert len(errors) >= 3, f"{env_id}: states not found"
    return np.array(errors), steps.rewards.ravel()[chosen].max()


# Meta-World: goal and object position are drawn at a reset from one vector.

PLACES = [4, 5, 6, 11, 12, 13, 36, 37, 38]  # both objects and the goal
NOW = [*range(18), 36, 37, 38]  # without the frame before


class Twin:
    """The official task with the goal and object positions of an episode in EnvPool."""

    def __init__(self, env_id, num_draws=40):
        self.env = make(env_id, 1, "official", goal_visible=True, seed=1)
        self.task = self.env.lanes[0].env
        seen, drawn = [], []
        for _ in range(num_draws):
            seen.append([*self.env.reset()[0][0, PLACES], 1.0])
            drawn.append(self.task._last_rand_vec)
        self._fit(np.array(seen), np.array(drawn))

    def _fit(self, seen, drawn):
        """Draws are linear in the observation; the goal tells them where it can."""
        self.drawn = drawn
        self.map = np.zeros((10, drawn.shape[1]))
        best = np.full(drawn.shape[1], np.inf)
        for columns in ([6, 7, 8, 9], [0, 1, 2, 9], [0, 1, 2, 6, 7, 8, 9], [*range(10)]):
            solution = np.linalg.lstsq(seen[:, columns], drawn, rcond=1e-6)[0]
            error = np.abs(seen[:, columns] @ solution - drawn).max(0)
            is_better = error < best - 1e-4
            best[is_better] = error[is_better]
            self.map[:, is_better] = 0.0
            self.map[np.ix_(columns, is_better)] = solution[:, is_better]
        self.is_seen = best < 0.02  # some numbers are drawn and not used

    def reset(self, observation):
        """Start the episode; return its first observation, or None if no draw gives it."""
        vector = np.array([*observation[PLACES], 1.0]) @ self.map
        space = self.task._random_reset_space
        vector = np.clip(vector, space.low, space.high)
        for other in self.drawn:
            try:
                return self._reset(np.where(self.is_seen, vector, other))
            except LookupError:
                continue
        return None

    def _reset(self, vector):
        calls = []

        def fixed():
            calls.append(1)
            if len(calls) > 4:  # a task that refuses a draw asks for another one for ever
                raise LookupError
            return vector.copy()

        self.task._get_state_rand_vec = fixed
        try:
            return self.env.reset()[0][0]
        finally:
            del self.task._get_state_rand_vec


def expert(task, noise, seed=0):
    """Meta-World's scripted policy with noise; the goal has to be visible."""
    from metaworld.policies import ENV_POLICY_MAP

    policy, rng = ENV_POLICY_MAP[task](), np.random.default_rng(seed)

    def choose(observations):
        actions = np.stack([policy.get_action(one) for one in observations.astype(np.float64)])
        actions = np.clip(actions, -1, 1) + rng.normal(0, noise, actions.shape)
        return np.clip(actions, -1, 1).astype(np.float32)

    return choose


def meta_world_replay(task, num_envs=3, num_episodes=2, num_steps=60):
    """Errors of reward and success while both are within 3 mm of each other after a start.

    Returns:
        errors of the reward, relative to its size, in nine of ten steps (it jumps at some
        thresholds), [episode]; share of equal success flags, and the number of steps compared,
        [episode].
    """
    env_id = f"metaworld/{task}"
    env = make(env_id, num_envs, "envpool", goal_visible=True, seed=7, max_episode_steps=num_steps)
    twin, choose = Twin(env_id), expert(task, 0.1)
    errors, agreement, lengths = [], [], []
    observations = env.reset()[0]
    for _ in range(num_episodes):
        steps = roll(env, choose, num_steps, observations)
        for index in range(num_envs):
            first = twin.reset(steps.observations[0, index])
            if first is None:
                errors.append(np.inf)
                continue
            theirs = replay(twin.env, steps, index)
            apart = np.abs(steps.observations[1:, index] - theirs.observations[1:, 0])[:, NOW]
            is_apart = apart.max(1) > 3e-3
            stop = int(is_apart.argmax()) if is_apart.any() else num_steps
            ours, others = steps.rewards[:stop, index], theirs.rewards[:stop, 0]
            size = 0.05 + np.maximum(np.abs(ours), np.abs(others))
            error = np.abs(ours - others) / size
            errors.append(np.quantile(error, 0.9) if stop else 0.0)
            flags = steps.success[:stop, index] == theirs.success[:stop, 0]
            agreement.append(flags.mean() if stop else 1.0)
            lengths.append(stop)
        observations = env.reset()[0]
    return np.array(errors), np.array(agreement), np.array(lengths)


def expert_samples(task, num_episodes=20, num_steps=250):
    """Returns and steps with success, [episode, 2], of the noisy expert on both back ends."""
    samples = []
    for backend in ("envpool", "official"):
        env = make(f"metaworld/{task}", num_episodes, backend, goal_visible=True, seed=11)
        env.reset()  # what a reset leaves behind for the next one shows in the second
        steps = roll(env, expert(task, 0.2), num_steps)
        samples.append(np.stack([steps.rewards.sum(0), steps.success.sum(0)], 1))
    return samples


# What `AGREES` promises.

LARGEST_ERROR = 5e-3  # of observations, relative, and of rewards, in the control suite and Gym
LARGEST_REWARD_ERROR = 0.05  # relative, Meta-World
SMALLEST_P = 0.01


def check_start(env_id):
    observations, rewards, ends = solved_replay(env_id)
    assert ends.all()
    assert np.median(rewards) < LARGEST_ERROR, rewards
    # the heading of the humanoid is not seen; `run_pure_state` shows the whole state instead
    if not env_id.startswith("dmc/humanoid-") or env_id.endswith("pure_state"):
        assert np.median(observations) < LARGEST_ERROR, observations


def check_visited_rewards(env_id):
    errors, largest = visited_rewards(env_id)
    assert errors.max() < 1e-5, errors
    assert largest > 0.1, f"only rewards up to {largest} were compared"


def check_meta_world_start(task):
    errors, agreement, lengths = meta_world_replay(task)
    assert (lengths >= 5).sum() >= 3, lengths
    assert np.median(errors) < LARGEST_REWARD_ERROR, errors
    assert agreement.mean() > 0.98, agreement


@pytest.mark.parametrize(
    "env_id", ["gym/HalfCheetah-v5", "gym/Pendulum-v1", "dmc/walker-walk", "dmc/cartpole-swingup"]
)
def test_equal_starts_and_actions_give_equal_steps(env_id):
    check_start(env_id)


@pytest.mark.parametrize("task", ["button-press-topdown-v3", "window-open-v3", "drawer-open-v3"])
def test_meta_world_gives_equal_rewards_and_success_after_equal_starts(task):
    check_meta_world_start(task)


def test_a_reward_that_differs_is_found():
    errors, _, lengths = meta_world_replay("button-press-topdown-wall-v3", 2, 1, 20)
    assert lengths.min() == 20
    assert errors.min() > 0.5


def test_the_nail_of_envpool_wanders_from_reset_to_reset():
    goals = {}
    for backend in ("envpool", "official"):
        env = make("metaworld/hammer-v3", 2, backend, goal_visible=True)
        goals[backend] = np.stack([env.reset()[0][0, -3:] for _ in range(3)])
    assert np.allclose(goals["official"], goals["official"][0])
    assert np.ptp(goals["envpool"], axis=0).max() > 0.5


def test_envpool_rewards_a_ball_beside_the_cup():
    env = make("dmc/ball_in_cup-catch", 8, "envpool", seed=11)
    steps = roll(env, random_actions(env), 150)
    solver = Solver("dmc/ball_in_cup-catch")
    num_differing = 0
    for time, index in np.argwhere(steps.rewards > 0):
        state = steps.observations[time + 1, index].astype(np.float64)
        solver.data.qpos[:], solver.data.qvel[:] = np.split(state, 2)
        mujoco.mj_forward(solver.model, solver.data)
        num_differing += solver.reward() == 0.0
    assert num_differing > 3


def solvable(source):
    return sorted(f"{source}/{task}" for task in AGREES[source])


@pytest.mark.slow
@pytest.mark.parametrize("env_id", envs.list_ids())
def test_every_task_has_the_official_spaces(env_id):
    official, ours = make(env_id, 2, "official"), make(env_id, 2, "envpool")
    assert ours.observation_space == official.observation_space
    assert ours.action_space == official.action_space
    assert ours.record.max_episode_steps == official.record.max_episode_steps
    observations, _ = ours.reset()
    assert observations.shape == ours.observation_space.shape
    ours.step(np.zeros(ours.action_space.shape))


@pytest.mark.slow
@pytest.mark.parametrize("env_id", solvable("gym") + solvable("dmc"))
def test_every_task_of_gym_and_the_control_suite_agrees(env_id):
    check_start(env_id)
    if env_id.startswith("dmc"):
        check_visited_rewards(env_id)


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(AGREES["metaworld"]))
def test_every_task_of_meta_world_agrees(task):
    check_meta_world_start(task)
    ours, official = expert_samples(task)
    for column in range(2):
        assert ks_2samp(ours[:, column], official[:, column]).pvalue > SMALLEST_P


def random_returns(env_id, num_episodes=30, num_steps=150):
    """Returns of the same random actions on both back ends, whose starts differ."""
    for backend in ("envpool", "official"):
        env = make(env_id, num_episodes, backend, seed=11)
        yield roll(env, random_actions(env, seed=3), num_steps).rewards.sum(0)
        env.close()


NO_START = sorted(name for name, reason in DIFFERS.items() if reason.startswith("starts not"))


@pytest.mark.slow
@pytest.mark.parametrize("env_id", NO_START)
def test_tasks_whose_starts_cannot_be_compared_return_alike(env_id):
    ours, official = random_returns(env_id)
    assert ks_2samp(ours, official).pvalue > SMALLEST_P


def test_returns_that_differ_are_told_apart():
    ours, official = random_returns("metaworld/button-press-topdown-wall-v3", 8, 20)
    assert ks_2samp(ours, official).pvalue < SMALLEST_P
