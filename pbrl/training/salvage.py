"""What a run that fails must keep beside its checkpoints, its labels, and what it must not."""

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from pbrl.feedback import FeedbackStore
from pbrl.offline.labels.export import save_pairs
from pbrl.replay import ReplayBuffer

_OF_OPTIMISERS = "param_groups"  # their moments may overflow while the parameters are sound


class DivergedError(ValueError):
    """The agent can no longer act or learn; its state is no checkpoint to go on from."""


@runtime_checkable
class ActsAndAsks(Protocol):
    """A loop that acts, and is given labels on the way."""

    @property
    def acts_in_numbers(self) -> bool:
        """Whether its last actions were numbers, as far as there were any."""
        ...

    @property
    def num_labelled(self) -> int:
        """Labels received so far."""
        ...

    def keep_labels(self, folder: Path) -> str:
        """Write all labels to files of their own; return what came of it, see `keep_labels`."""
        ...


def check_agent(loop: object, state: Mapping[str, Any]) -> None:
    """Refuse an agent that has diverged.

    Args:
        loop: that it is part of.
        state: of the loop.

    Raises:
        DivergedError: naming what is not a finite number.
    """
    if isinstance(loop, ActsAndAsks) and not loop.acts_in_numbers:
        raise DivergedError("the agent has diverged: its actions are not numbers")
    for name, tensor in _parameters(state.get("agent", {}), ""):
        if not bool(tensor.isfinite().all()):
            raise DivergedError(f"the agent has diverged: {name} is not finite")


def _parameters(state: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(state, Tensor) and state.is_floating_point():
        yield name, state
    elif isinstance(state, Mapping) and _OF_OPTIMISERS not in state:
        for key, value in state.items():
            yield from _parameters(value, f"{name}/{key}".lstrip("/"))


def keep_labels(folder: Path, feedback: FeedbackStore, replay: ReplayBuffer, step: int) -> str:
    """Write labels to files of their own, for when no checkpoint can hold them.

    `feedback-STEP.npz` is the record of who answered what (`FeedbackStore.load`). What it points
    into may be lost with the replay buffer, so `labels-STEP.npz` holds the segments themselves:
    `pbrl fit` learns from it, and `pbrl label report` reads it. Earlier files stay.

    Args:
        folder: of the run.
        feedback: everything asked and answered.
        replay: where the segments lie.
        step: of the run.

    Returns:
        What was written where, or why nothing was, in words.
    """
    labelled = feedback.labelled()
    record, pairs = _free_names(folder, step)
    try:
        feedback.save(record)
    except OSError as error:
        return f"Its {len(labelled)} labels could not be kept either: {reason(error)}."
    kept = f"Its {len(labelled)} labels are kept in {record}"
    try:
        save_pairs(pairs, replay.gather(labelled.index), labelled.labels.cpu().numpy())
    except (OSError, ValueError) as error:
        return f"{kept}, without their segments: {reason(error)}."
    return f"{kept}, and with their segments in {pairs}, which `pbrl fit` learns from."


def reason(error: Exception) -> str:
    """Return why something failed, without the number that the system gives it."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _free_names(folder: Path, step: int) -> tuple[Path, Path]:
    """Return names for the record and for the pairs that no file has."""
    for number in count():
        ending = f"{step:09d}{f'.{number}' if number else ''}.npz"
        names = folder / f"feedback-{ending}", folder / f"labels-{ending}"
        if not any(name.exists() for name in names):
            return names
    raise AssertionError("counting does not end")
