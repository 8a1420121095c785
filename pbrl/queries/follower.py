"""Somebody outside of a run who wants to know how it stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """A run as it stands.

    Attributes:
        step: environment steps so far.
        steps: of the whole run.
        num_asked: queries asked.
        num_labelled: labels that came in.
        phase: what it is doing or waiting for; empty while it goes on.
        score_name: what the curve shows.
        curve: step, score and queries asked at each evaluation.
        is_asking: whether it may ask more.
        is_over: whether it came to its end.
    """

    step: int
    steps: int
    num_asked: int
    num_labelled: int
    phase: str = ""
    score_name: str = ""
    curve: Sequence[tuple[int, float, int]] = ()
    is_asking: bool = True
    is_over: bool = False


@runtime_checkable
class Follower(Protocol):
    """Is told now and then how a run stands; a teacher may be one."""

    def follow(self, status: RunStatus) -> None:
        """Take note of how the run stands; must not stop it."""
        ...
