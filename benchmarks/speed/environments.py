"""Environment steps through our interface against the bare back end, in the same process."""

import importlib.util
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from dm_control import suite
from metaworld.env_dict import ALL_V3_ENVIRONMENTS

import pbrl.envs
from speed.measure import Row, Times, time_in_turns

IDS = ("dmc/walker-walk", "metaworld/button-press-topdown-v3", "gym/HalfCheetah-v5")
COUNTS = (1, 32)
MOST_OVERHEAD = 0.15
JUDGED_COUNT = 32
NUM_ACTIONS = 100  # rows of actions drawn beforehand, used in turn

Stepper = Callable[[int], None]


def environment_steps(rounds: int) -> list[Row]:
    """Time steps of all sub-environments under the same random actions.

    Bare is a plain loop over the back end's own objects, with nothing around them, that resets a
    finished one and throws every observation away; EnvPool, where installed, has one thread.
    """
    return [
        row
        for backend in backends()
        for env_id in IDS
        for num_envs in COUNTS
        for row in compare(backend, env_id, num_envs, rounds)
    ]


def backends() -> list[str]:
    """Return the back ends that are installed."""
    with_envpool = all(map(importlib.util.find_spec, ("envpool", "pbrl.envs.envpool")))
    return ["official", *(["envpool"] if with_envpool else [])]


def compare(backend: str, env_id: str, num_envs: int, rounds: int) -> list[Row]:
    """Return the rows of one environment."""
    options = {"num_threads": 1} if backend == "envpool" else {}
    env = pbrl.envs.make(env_id, num_envs, backend=backend, **options)
    low, high = env.action_space.low, env.action_space.high
    random = np.random.default_rng(0)
    actions = random.uniform(low, high, (NUM_ACTIONS, *low.shape)).astype(np.float32)
    make_bare = bare_envpool if backend == "envpool" else bare_official
    contenders = {"bare": make_bare(env_id, actions), "pbrl": _ours(env, actions)}
    times = time_in_turns(contenders, rounds)
    env.close()
    return [_row(name, f"{env_id} {backend} x{num_envs}", num_envs, times) for name in times]


def _row(name: str, case: str, num_envs: int, times: dict[str, Times]) -> Row:
    ratio = times["bare"].cpu / times[name].cpu
    note = f"{num_envs / times[name].cpu:,.0f} steps/s"
    aim: dict[str, Any] = {}
    if name == "pbrl":
        overhead = 1 / ratio - 1
        note += f", overhead {overhead:.0%}"
        if num_envs == JUDGED_COUNT:
            is_met = overhead < MOST_OVERHEAD
            aim = {"aim": f"overhead under {MOST_OVERHEAD:.0%}", "is_met": is_met}
    return Row(
        section="environment step",
        case=case,
        contender=name,
        **times[name].columns(),
        ratio=ratio,
        note=note,
        **aim,
    )


def _ours(env: Any, actions: np.ndarray) -> Stepper:
    env.reset()

    def run(repetitions: int) -> None:
        for step in range(repetitions):
            env.step(actions[step % NUM_ACTIONS])

    return run


def bare_official(env_id: str, actions: np.ndarray) -> Stepper:
    """Return a loop over the official package's own environments, one for each row of actions."""
    source, _, task = env_id.partition("/")
    num_envs = actions.shape[1]
    match source:
        case "dmc":
            envs = [
                suite.load(*task.split("-"), task_kwargs={"random": 0}) for _ in range(num_envs)
            ]
        case "metaworld":
            envs = [_bare_metaworld(task) for _ in range(num_envs)]
        case _:
            envs = [gymnasium.make(task).unwrapped for _ in range(num_envs)]
    for env in envs:
        env.reset()
    length = getattr(envs[0], "max_path_length", 1000)
    steps_taken = 0

    def run(repetitions: int) -> None:
        nonlocal steps_taken
        for step in range(repetitions):
            if steps_taken == length:  # all began together and none terminates
                steps_taken = 0
                for env in envs:
                    env.reset()
            steps_taken += 1
            for env, action in zip(envs, actions[step % NUM_ACTIONS], strict=True):
                env.step(action)

    return run


def _bare_metaworld(task: str) -> Any:
    env = ALL_V3_ENVIRONMENTS[task]()
    env._set_task_called = True
    env._freeze_rand_vec = False
    return env


def bare_envpool(env_id: str, actions: np.ndarray) -> Stepper:
    """Return a loop over EnvPool's own environments, on one thread."""
    import envpool  # noqa: PLC0415  optional

    from pbrl.envs.envpool import envpool_name  # noqa: PLC0415

    pool = envpool.make_gymnasium(
        envpool_name(env_id), num_envs=actions.shape[1], num_threads=1, seed=0
    )
    pool.reset()

    def run(repetitions: int) -> None:
        for step in range(repetitions):
            pool.step(actions[step % NUM_ACTIONS])

    return run
