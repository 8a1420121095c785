"""Where D4RL's files without time-outs were cut off: rightly counted, and as D4RL counts."""

import numpy as np
from jaxtyping import Bool


def at_step_limit(
    terminals: Bool[np.ndarray, " step"], max_episode_steps: int
) -> Bool[np.ndarray, " step"]:
    """Return at which steps an episode reaches the time limit."""
    step = np.arange(len(terminals))
    first = np.zeros(len(terminals), np.int64)  # step after the last terminal before each step
    first[1:][terminals[:-1]] = step[1:][terminals[:-1]]
    since_terminal = step - np.maximum.accumulate(first)
    at_limit: Bool[np.ndarray, " step"] = (since_terminal + 1) % max_episode_steps == 0
    return at_limit


def counted_timeouts(
    terminals: Bool[np.ndarray, " step"], max_episode_steps: int
) -> Bool[np.ndarray, " step"]:
    """Return the rows that D4RL's `qlearning_dataset` takes for time-outs.

    Its counter starts at 0 after a time-out, but at 1 after a terminal: the time-out of an episode
    that follows a terminated one is seen a step too early. Label files that number the transitions
    with it number them so.
    """
    timeouts = np.zeros(len(terminals), bool)
    counter, start = 0, 0
    for end in [*np.flatnonzero(terminals).tolist(), len(terminals) - 1]:
        if counter < max_episode_steps:
            timeouts[start + max_episode_steps - 1 - counter : end + 1 : max_episode_steps] = True
        counter, start = int(not timeouts[end]), end + 1
    return timeouts
