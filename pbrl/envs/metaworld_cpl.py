"""Meta-World as in Contrastive Preference Learning: `metaworld/<task>-v3-cpl`.

Hejna et al., "Contrastive Preference Learning", ICLR 2024, appendix D.1 and `envs/metaworld.py` of
its code. What differs from `metaworld/<task>-v3`: the goal is visible, the hand starts anywhere,
the observation lacks the previous pose of the hand, an episode has 250 steps, and the reward is
divided by ten. CPL ran version 2 of the tasks; these are version 3, so its numbers do not carry
over.
"""

from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Float64

from pbrl.envs.vector import Lane

SUFFIX = "-cpl"
MAX_EPISODE_STEPS = 250
REWARD_SCALE = 0.1
HAND_OFFSET = np.array([0.25, 0.15, 0.2])  # metres to either side of the usual first position
SETTLE_STEPS = 50
PREVIOUS_HAND = slice(18, 22)  # position and opening of the hand, one step ago
MOCAP_QUATERNION = (1.0, 0.0, 1.0, 0.0)
OPEN_GRIPPER = (-1.0, 1.0)


class CPLLane:
    """A Meta-World environment with CPL's changes as one sub-environment.

    Success is reported and does not end an episode; the time limit truncates it.

    Args:
        lane: the environment without the changes, its goal visible.
        env: Meta-World's own environment in that lane.
    """

    def __init__(self, lane: Lane, env: Any) -> None:
        self._lane = lane
        self.env = env
        space = lane.observation_space
        self.observation_space = spaces.Box(
            without_previous_hand(space.low), without_previous_hand(space.high), dtype=np.float64
        )
        self.action_space = lane.action_space
        self.max_episode_steps = lane.max_episode_steps
        self.reward_version = lane.reward_version
        self.goal_visible = lane.goal_visible
        self.scene = lane.scene
        self.render = lane.render
        self.get_state = lane.get_state
        self.set_state = lane.set_state
        self.close = lane.close

    def reset(self, seed: int | None) -> tuple[Float64[np.ndarray, " obs"], dict[str, Any]]:
        """Start an episode with a new goal and the hand at a new place."""
        self._lane.reset(seed)
        self._move_hand()
        self.env._get_obs()  # the previous observation becomes the present one
        return without_previous_hand(self.env._get_obs()), {}

    def step(
        self, action: np.ndarray
    ) -> tuple[Float64[np.ndarray, " obs"], float, bool, bool, dict[str, Any]]:
        """Take one step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return (
            without_previous_hand(observation),
            REWARD_SCALE * float(reward),
            terminated,
            truncated,
            info,
        )

    def _move_hand(self) -> None:
        """Let the hand settle at a place drawn uniformly, as far as the arm may go."""
        env = self.env
        offset = env.np_random.uniform(-HAND_OFFSET, HAND_OFFSET)
        place = np.clip(env.hand_init_pos + offset, env.mocap_low, env.mocap_high)
        for _ in range(SETTLE_STEPS):
            env.data.mocap_pos[:] = place
            env.data.mocap_quat[:] = MOCAP_QUATERNION
            env.do_simulation(OPEN_GRIPPER, env.frame_skip)


def without_previous_hand(
    observation: Float64[np.ndarray, " full"],
) -> Float64[np.ndarray, " obs"]:
    """Return the 35 of 39 numbers that CPL observes: all but the hand's previous pose.

    They are the hand (4) and the objects (14) now, the objects one step ago (14), and the goal (3).
    """
    return np.delete(observation, PREVIOUS_HAND)


def with_previous_hand(observation: Float64[np.ndarray, " obs"]) -> Float64[np.ndarray, " full"]:
    """Return an observation in Meta-World's own layout, zeros for the hand's previous pose."""
    return np.insert(observation, PREVIOUS_HAND.start, np.zeros(4))
