"""What the loops ask of an agent."""

from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from pbrl.batches import Batch, BatchSteps, NewestSteps
from pbrl.pairs import OfflineBatch, OfflineBatchSizes

BatchT_contra = TypeVar("BatchT_contra", contravariant=True)


@runtime_checkable
class Agent(Protocol[BatchT_contra]):
    """A policy that learns from batches: online from `Batch`, offline from its method's own."""

    def act(
        self, observations: Float[Tensor, "batch obs"], deterministic: bool
    ) -> Float[Tensor, "batch act"]:
        """Return actions in [-1, 1], the policy's mode or a sample."""
        ...

    def update(self, batch: BatchT_contra) -> dict[str, Tensor]:
        """Learn from one batch and return detached scalars under their names."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that learning has changed: parameters, optimisers, counters."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; learning goes on bit for bit."""
        ...


@runtime_checkable
class OnlineAgent(Agent[Batch], Protocol):
    """A policy that learns from the steps of a replay buffer while they are made.

    Attributes:
        action_dim: size of an action.
    """

    action_dim: int

    @property
    def batch_steps(self) -> BatchSteps | NewestSteps:
        """What an update learns from: transitions that reach so far, or all of the newest steps."""
        ...

    def reset_critic(self) -> None:
        """Forget what was learned of values, as after an exploration that another reward led."""
        ...


@runtime_checkable
class OfflineAgent(Agent[OfflineBatch], Protocol):
    """A policy that learns from a dataset, from labelled pairs of its segments, or from both.

    An agent whose transitions must carry a reward says so by `learns_from_rewards = True`.
    """

    @property
    def batch_sizes(self) -> OfflineBatchSizes:
        """What the next update draws; it may change from one phase of a method to the next."""
        ...


@runtime_checkable
class HasPhases(Protocol):
    """An offline agent that later draws what it does not draw at first."""

    @property
    def phase_sizes(self) -> tuple[OfflineBatchSizes, ...]:
        """What an update draws, one per phase."""
        ...


def phases_of(agent: OfflineAgent) -> tuple[OfflineBatchSizes, ...]:
    """Return what an update of each phase draws; most agents have one."""
    return agent.phase_sizes if isinstance(agent, HasPhases) else (agent.batch_sizes,)


class FirstPhase(NamedTuple):
    """What a method does at first, before it does what it is for.

    Attributes:
        option: field of its configuration that says how long.
        updates: its value.
        what: is done meanwhile and not learned, for a sentence that begins with the method.
    """

    option: str
    updates: int
    what: str


@runtime_checkable
class HasFirstPhase(Protocol):
    """The configuration of such a method."""

    @property
    def first_phase(self) -> FirstPhase | None:
        """The first phase, None where there is none."""
        ...
