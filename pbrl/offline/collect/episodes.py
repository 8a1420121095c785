"""Episodes as they are collected, and what each of them depends on."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32

from pbrl.envs.states import State
from pbrl.randomness import derived_seed

PER_STEP_STATE = "physics"


@dataclass(frozen=True, kw_only=True)
class Episode:
    """The steps of one episode; T steps have T + 1 observations.

    Attributes:
        observations: what was seen before each action, and after the last.
        actions: in [-1, 1].
        rewards: the environment's.
        terminated: whether the last step ended in a terminal state; otherwise it was cut off.
        successes: whether the task was solved in each step; None where nothing says so.
        states: simulator state before each action under "physics", and under the other names what
            stays as it was at the first step, with a leading axis of one; empty if not kept.
    """

    observations: Float32[np.ndarray, "time_and_one obs"]
    actions: Float32[np.ndarray, "time act"]
    rewards: Float32[np.ndarray, " time"]
    terminated: bool
    successes: Bool[np.ndarray, " time"] | None = None
    states: State = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rewards)

    def state(self, step: int) -> State:
        """Return the simulator's state before an action, for `set_state` of an environment.

        Raises:
            ValueError: if no states were kept.
        """
        return stored_state(self.states, step)


def stored_state(states: State, step: int) -> State:
    """Return the state before an action from what an episode keeps, see `Episode.states`.

    Quantities that follow from the rest are left out; `set_state` computes them.

    Raises:
        ValueError: if no states were kept.
    """
    if PER_STEP_STATE not in states:
        raise ValueError("the episode was collected without simulator states")
    constant = {
        name: np.asarray(value[0]) for name, value in states.items() if name != PER_STEP_STATE
    }
    return {**constant, PER_STEP_STATE: states[PER_STEP_STATE][step]}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One episode to collect.

    Attributes:
        source: which source acts.
        number: of the episode within its source.
        seed: of the whole dataset; all that the episode draws comes from it, the source and the
            number.
        max_warm_up: most steps by another policy before the recording begins, drawn uniformly.
    """

    source: int
    number: int
    seed: int
    max_warm_up: int = 0

    @property
    def env_seed(self) -> int:
        """Seed of the environment."""
        return derived_seed(self.seed, self.source, self.number, 0)

    def rng(self, purpose: int) -> np.random.Generator:
        """Return a new generator for one of several purposes, numbered from 1."""
        return np.random.default_rng(derived_seed(self.seed, self.source, self.number, purpose))
