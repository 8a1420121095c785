"""What the online loop needs to know about rewards, and the environment's own."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from pbrl.training.together import RewardFit

Metrics = dict[str, float]


@dataclass(frozen=True)
class TrainingProgress:
    """What a teacher scales its thresholds by.

    Attributes:
        recent_return: mean true return of the last training episodes.
        episode_length: steps of a full episode.
    """

    recent_return: float
    episode_length: int


class AskedSession(NamedTuple):
    """A session in which answers came in, and the fit that it begins if there is any label.

    Attributes:
        step: environment steps when it began.
        metrics: what it came to, but for the fit.
        fit: what learns from the answers so far.
    """

    step: int
    metrics: Metrics
    fit: RewardFit | None = None


@runtime_checkable
class RewardSource(Protocol):
    """What the loop needs to know about rewards."""

    def step_rewards(
        self,
        observations: Float[Tensor, "env obs"],
        actions: Float[Tensor, "env act"],
        true_rewards: Float[Tensor, " env"],
    ) -> Float[Tensor, " env"]:
        """Return the rewards to store with new steps."""
        ...

    def begin_session(
        self, step: int, stride: int, progress: TrainingProgress
    ) -> AskedSession | None:
        """Ask, and begin to learn the reward, if a session is due.

        Answers to earlier queries make a session too, once there are enough of them.

        Args:
            step: environment steps so far.
            stride: environment steps since the last call; 0 while the run waits.
            progress: what the teacher may want to know.

        Returns:
            What was begun; None if no session was due. After the passes of its fit comes
            `end_session`.
        """
        ...

    def end_session(self, session: AskedSession) -> Metrics:
        """Relabel the replay buffer by what was learned; return what the session came to."""
        ...

    def waits_for(self, step: int) -> str:
        """Return what must come in before the next step is taken, in words; empty for nothing."""
        ...

    def wait(self) -> None:
        """Let a moment pass."""
        ...

    @property
    def is_asking(self) -> bool:
        """Whether part of the budget is left."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether there is a reward to learn from; before that the agent explores."""
        ...

    @property
    def num_asked(self) -> int:
        """Queries asked so far."""
        ...

    @property
    def num_labelled(self) -> int:
        """Labels received so far."""
        ...

    def ask_again(self, progress: TrainingProgress) -> None:
        """Put queries that were asked but not answered to the teacher once more."""
        ...

    def saved(self) -> None:
        """Note that a checkpoint holds everything that happened so far."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


class TrueReward:
    """The environment's own reward: the agent that learns from it is the oracle."""

    is_asking = False
    is_ready = True
    num_asked = 0
    num_labelled = 0

    def step_rewards(self, observations: Tensor, actions: Tensor, true_rewards: Tensor) -> Tensor:
        """Return the true rewards."""
        del observations, actions
        return true_rewards

    def begin_session(self, step: int, stride: int, progress: TrainingProgress) -> None:
        """Ask nobody."""
        del step, stride, progress

    def end_session(self, session: AskedSession) -> Metrics:
        """Return what is there: nobody was asked."""
        return session.metrics

    def waits_for(self, step: int) -> str:
        """Return nothing: true rewards are there at once."""
        del step
        return ""

    def wait(self) -> None:
        """Do nothing: nobody waits."""

    def ask_again(self, progress: TrainingProgress) -> None:
        """Do nothing: nobody was asked."""

    def saved(self) -> None:
        """Do nothing: nobody waits for a checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: there is no state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore nothing."""
