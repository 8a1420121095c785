"""What every run has around its loop: evaluations, logs, checkpoints and a result."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pbrl.linear import matmul_precision
from pbrl.queries.follower import Follower, RunStatus
from pbrl.training.checkpoint import newest_checkpoint
from pbrl.training.interruption import Interrupted
from pbrl.training.machine import commit, machine, versions
from pbrl.training.metrics import MetricsLog
from pbrl.training.progress import Progress, Shown
from pbrl.training.result import Result, final_score
from pbrl.training.run_checkpoints import RunCheckpoints
from pbrl.training.run_config import RunConfig
from pbrl.training.run_folder import RunFolder
from pbrl.training.run_parts import About, Parts
from pbrl.training.run_scores import RunScores
from pbrl.training.salvage import DivergedError, reason
from pbrl.training.threads import torch_threads

FOLLOW_SECONDS = 2.0  # between two words to whoever follows a run


class Run:
    """The state of a run around its loop: curve, clocks and how often it was resumed.

    Args:
        config: the run.
        folder: held by this process.
        build: returns the parts, given how often the run was resumed.
        about: returns what the result says, given the parts.
        belongs_to: what a checkpoint must agree with beside the configuration; JSON values.
        save_on_error: write a checkpoint also when the loop fails in the middle of an advance, so
            that no label given is lost.
        follower: is told now and then how the run stands.

    Attributes:
        seeds_together: seeds that compute together with this one, itself among them.

    Raises:
        ValueError: if a checkpoint belongs to something else.
    """

    def __init__(  # noqa: PLR0913  keyword-only
        self,
        config: RunConfig,
        folder: RunFolder,
        *,
        build: Callable[[int], Parts],
        about: Callable[[Parts], About],
        belongs_to: Mapping[str, Any] | None = None,
        save_on_error: bool = False,
        follower: Follower | None = None,
    ) -> None:
        self.config = config
        self.folder = folder
        self.save_on_error = save_on_error
        self._follower, self._next_word = follower, 0.0
        self._checkpoints = RunCheckpoints(folder, belongs_to or {})
        self.scores = RunScores()
        self.seconds = 0.0
        self.resumes = 0
        self.seeds_together = 1
        self._before = self._milestones_before = 0
        self._is_advancing, self._is_reported = False, True
        self._row: Mapping[str, float] | None = None  # of a report that has begun
        self._started = 0.0
        state = self._checkpoints.load()
        if state is not None:
            self.resumes = int(state["resumes"]) + 1
        parts = build(self.resumes)
        self.loop, self.scorer = parts
        self.about = about(parts)
        if state is not None:
            self._restore(state)

    def go(self, log: MetricsLog, progress: Progress, is_interrupted: Callable[[], bool]) -> Result:
        """Run to the end.

        Raises:
            Interrupted: if asked to stop.
        """
        with torch_threads(self.config.threads), matmul_precision(self.config.precision):
            self.begin(log)
            self.note_beginning(progress)
            with self._saving_after_errors():
                self.catch_up()
            while not self.is_over:
                with self._saving_after_errors():
                    self.note_place()
                    self.loop.advance()
                    self.note_advance()
                    self.report()
                progress.update(**self.shown())
                if is_interrupted():
                    raise self.stopped()
            return self.finish()

    def begin(self, log: MetricsLog) -> None:
        """Start the clock, and score a random policy if that has not been done."""
        self._log = log
        self._started = time.perf_counter() - self.seconds
        if not self.scores.name:
            self.scores.note_random(self.scorer.random())

    def note_beginning(self, progress: Progress) -> None:
        """Say if a run to go on with begins anew; one that was killed early has no checkpoint."""
        if self.folder.is_resumed and self.resumes == 0:
            place = self.folder.checkpoints
            progress.note(f"there is no checkpoint in {place}: the run begins at step 0")

    @property
    def logged_step(self) -> int:
        """The last step whose row of the log stands; later rows are written again."""
        return self.loop.step if self._is_reported else self._before

    def catch_up(self) -> None:
        """Make the report that an interruption cut off, if it did."""
        if not self._is_reported:
            self.report()

    @property
    def is_over(self) -> bool:
        """Whether all steps are done."""
        return self.loop.step >= self.config.steps

    def note_place(self) -> None:
        """Note where the run is, before it advances."""
        self._before, self._milestones_before = self._position
        self._is_advancing, self._is_reported, self._row = True, False, None

    def note_advance(self) -> None:
        """Note that the advance is over: the state is one to go on from exactly."""
        self._is_advancing = False

    def is_saving(self) -> bool:
        """Whether a checkpoint is due after an advance."""
        return self._has_reached_milestone or self._passed(self.config.checkpoint_every)

    def report(self) -> None:
        """Evaluate, log and save after an advance, as far as each is due.

        An evaluation takes long and may fail: what a milestone stands for is saved before.
        """
        if self._row is None:
            self._row = self.loop.metrics() if self._is_due(self.config.log_every) else {}
        values, score = dict(self._row), None
        if self._is_due(self.config.eval_every):
            if self._has_reached_milestone and not self._checkpoints.hold(self.loop):
                self._checkpoint()
            score = self.scorer()
            values |= score.metrics
        if values:
            self._log.write(self.loop.step, values)
        if score is not None:
            self.scores.note(score, self.loop.step, self.loop.num_asked)
        if time.monotonic() >= self._next_word:
            self._tell(self.loop.phase)
        self._is_reported = True
        if self.is_saving():
            self._checkpoint()

    def shown(self) -> Shown:
        """Return what a progress view shows."""
        return {
            "step": self.loop.step,
            "labels": self.loop.num_asked,
            "labels_given": self.loop.num_labelled,
            "reward_accuracy": self.loop.reward_accuracy,
            "score": self.scores.latest,
            "phase": self.loop.phase,
        }

    def save_after_error(self, error: Exception) -> None:
        """Save what no checkpoint holds yet, or at least the labels; notes on the error say what.

        What failed in the middle of an advance is gone on with as it is.
        """
        if self._checkpoints.have_noted(error) or (self._is_advancing and not self.save_on_error):
            return
        path = newest_checkpoint(self.folder.checkpoints)
        if self._is_advancing or not self._checkpoints.hold(self.loop):
            try:
                path = self._checkpoint(after_error=True)
            except (OSError, DivergedError) as failure:
                for note in (reason(failure), *getattr(failure, "__notes__", ())):
                    error.add_note(note)
                return
        error.add_note(f"What came before is saved in {path}: --resume goes on from there.")

    @contextmanager
    def _saving_after_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.save_after_error(error)
            raise

    def stopped(self) -> Interrupted:
        """Write a checkpoint, and return what to raise."""
        self._checkpoint()
        self._tell("stopped, --resume goes on")
        return Interrupted(
            f"stopped at step {self.loop.step:,}; the checkpoint is written, go on with --resume"
        )

    def finish(self) -> Result:
        """Write the last checkpoint and the result."""
        if not self._checkpoints.hold_report(self.loop):
            self._checkpoint()
        return self._result()

    def _passed(self, every: int) -> bool:
        return self._before // every != self.loop.step // every

    def _is_due(self, every: int) -> bool:
        is_over = self.loop.step > self._before and self.is_over
        return self._passed(every) or is_over

    def _tell(self, phase: str, *, is_over: bool = False) -> None:
        """Tell whoever follows how the run stands."""
        if self._follower is None:
            self._next_word = math.inf
            return
        loop = self.loop
        status = RunStatus(
            step=loop.step,
            steps=self.config.steps,
            num_asked=loop.num_asked,
            num_labelled=loop.num_labelled,
            phase=phase,
            score_name=self.scores.name,
            curve=tuple(self.scores.curve),
            is_asking=loop.is_asking and not is_over,
            is_over=is_over,
        )
        self._follower.follow(status)
        self._next_word = time.monotonic() + FOLLOW_SECONDS

    @property
    def _position(self) -> tuple[int, int]:
        return self.loop.step, self.loop.num_milestones

    @property
    def _has_reached_milestone(self) -> bool:
        return self.loop.num_milestones > self._milestones_before

    def _checkpoint(self, *, after_error: bool = False) -> Path:
        self.seconds = time.perf_counter() - self._started
        before = {"step": self._before, "milestones": self._milestones_before, "row": self._row}
        rest = {
            "unreported": None if self._is_reported else before,
            **self.scores.state_dict(),
            "seconds": self.seconds,
            "resumes": self.resumes,
        }
        return self._checkpoints.write(
            self.loop, rest, is_reported=self._is_reported, after_error=after_error
        )

    def _restore(self, state: dict[str, Any]) -> None:
        self.loop.load_state_dict(state["loop"])
        self.scores.load_state_dict(state)
        self.seconds = state["seconds"]
        unreported = state.get("unreported")  # older ones lack it
        if unreported is not None:
            self._is_reported, self._row = False, unreported["row"]
            self._before = int(unreported["step"])
            self._milestones_before = int(unreported["milestones"])
        self._checkpoints.note(self.loop, is_reported=self._is_reported)

    def _result(self) -> Result:
        loop, config, about = self.loop, self.config, self.about
        scores, curve = self.scores, sorted(self.scores.curve)
        result = Result(
            suite=config.suite,
            agent=config.agent,
            env=about.env,
            dataset=about.dataset,
            seed=config.seed,
            control=about.control,
            steps=loop.step,
            labels_asked=loop.num_asked,
            labels_given=loop.num_labelled,
            score_name=scores.name,
            score=final_score(curve, config.score_evaluations),
            score_evaluations=min(config.score_evaluations, len(curve)),
            curve=tuple(curve),
            random_score=scores.random,
            wall_seconds=self.seconds,
            updates_per_second=loop.num_updates / self.seconds,
            versions=versions(),
            machine=machine(),
            commit=commit(),
            config=self.folder.config,
            environment=dict(about.environment),
            seeds_together=self.seeds_together,
            measures={name: tuple(points) for name, points in scores.measures.items()},
        )
        result.save(self.folder.result)
        self._tell("", is_over=True)
        return result
