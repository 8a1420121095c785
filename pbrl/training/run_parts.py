"""What a run is made of, online or offline: what it asks of its loop."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pbrl.training.scoring import Scorer


@runtime_checkable
class Loop(Protocol):
    """What a run repeats."""

    @property
    def step(self) -> int:
        """Steps done."""
        ...

    @property
    def num_updates(self) -> int:
        """Updates of the agent."""
        ...

    @property
    def num_asked(self) -> int:
        """Labels asked for."""
        ...

    @property
    def num_labelled(self) -> int:
        """Labels received."""
        ...

    @property
    def is_asking(self) -> bool:
        """Whether more labels may be asked for."""
        ...

    @property
    def num_milestones(self) -> int:
        """Grows with whatever must not be lost; a checkpoint is written then."""
        ...

    @property
    def reward_accuracy(self) -> float | None:
        """Of the learned reward on its labels, if there is one."""
        ...

    @property
    def phase(self) -> str:
        """What is being done, in a word or two; empty in the ordinary course of things."""
        ...

    def advance(self) -> None:
        """Do the next piece of work."""
        ...

    def metrics(self) -> Mapping[str, float]:
        """Return what a row of the log says."""
        ...

    def saved(self) -> None:
        """Note that a checkpoint holds everything so far."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


class Parts(NamedTuple):
    """What a run is made of."""

    loop: Loop
    scorer: Scorer


@dataclass(frozen=True, kw_only=True)
class About:
    """What the result says a run is about.

    Attributes:
        env: environment id; None where there is none.
        dataset: name of the dataset of an offline run.
        control: how the labels were spoilt.
        environment: what exactly was simulated.
    """

    env: str | None
    dataset: str | None = None
    control: str = "none"
    environment: Mapping[str, Any] = field(default_factory=dict)
