"""The checkpoints of one run, and what is kept where none can be written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pbrl.training.checkpoint import (
    has_checkpoint,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from pbrl.training.run_folder import RunFolder
from pbrl.training.run_parts import Loop
from pbrl.training.salvage import ActsAndAsks, DivergedError, check_agent


class RunCheckpoints:
    """Writes and reads the checkpoints of a run, and knows what the newest holds.

    Args:
        folder: of the run.
        belongs_to: what a checkpoint must agree with beside the configuration; JSON values.
    """

    def __init__(self, folder: RunFolder, belongs_to: Mapping[str, Any]) -> None:
        self._folder = folder
        self._fingerprint = {"config": folder.config, **belongs_to}
        self._position = (-1, -1)
        self._is_reported = True
        self._num_labels = 0
        self._failure: Exception | None = None

    def load(self) -> dict[str, Any] | None:
        """Return what was written last; None if nothing was.

        Raises:
            ValueError: if it belongs to something else.
        """
        if not has_checkpoint(self._folder.checkpoints):
            return None
        state: dict[str, Any] = load_checkpoint(self._folder.checkpoints, self._fingerprint)[0]
        return state

    def note(self, loop: Loop, *, is_reported: bool) -> None:
        """Note that the newest checkpoint holds the loop as it is, and say so to the loop."""
        self._position = loop.step, loop.num_milestones
        self._is_reported = is_reported
        self._num_labels = loop.num_labelled
        loop.saved()

    def hold(self, loop: Loop) -> bool:
        """Whether the newest is of the place where the loop is."""
        return self._position == (loop.step, loop.num_milestones)

    def hold_report(self, loop: Loop) -> bool:
        """Whether the newest is of that place, the report on it with it."""
        return self._is_reported and self.hold(loop)

    def write(
        self, loop: Loop, rest: Mapping[str, Any], *, is_reported: bool, after_error: bool = False
    ) -> Path:
        """Write a checkpoint and return its folder.

        Args:
            loop: a part of it.
            rest: what else a resumed run needs, by name.
            is_reported: whether the report on the loop's last advance is part of the rest.
            after_error: whether it is written because something went wrong.

        Raises:
            DivergedError: if the agent has diverged: a run that goes on from there is lost.
            OSError: if it cannot be written. Labels that no checkpoint holds are then kept in files
                of their own, in both cases, and notes on the error say how to go on.
        """
        try:
            state = loop.state_dict()
            check_agent(loop, state)
            path = save_checkpoint(
                self._folder.checkpoints,
                {"loop": state, **rest},
                step=loop.step,
                fingerprint=self._fingerprint,
                after_error=after_error,
            )
        except (OSError, DivergedError) as error:
            self._failure = error
            self._note_what_is_left(error, loop)
            raise
        self.note(loop, is_reported=is_reported)
        return path

    def have_noted(self, error: Exception) -> bool:
        """Whether notes on this error say already what is left."""
        return error is self._failure

    def _note_what_is_left(self, error: Exception, loop: Loop) -> None:
        if isinstance(error, DivergedError):
            sound = newest_checkpoint(self._folder.checkpoints)
            place = f"--resume goes on from {sound}, but a" if sound else "A"
            error.add_note(
                f"No checkpoint is written of that. {place} run of this configuration may diverge "
                "again: start another with a smaller learning rate."
            )
        if isinstance(loop, ActsAndAsks) and loop.num_labelled > self._num_labels:
            error.add_note(loop.keep_labels(self._folder.path))
