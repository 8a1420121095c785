"""What every run has around its loop: evaluations, logs, checkpoints and a result."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from pbrl.linear import matmul_precision
from pbrl.queries.follower import Follower, RunStatus
from pbrl.training.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint
from pbrl.training.interruption import Interrupted
from pbrl.training.machine import commit, machine, versions
from pbrl.training.metrics import MetricsLog
from pbrl.training.progress import Progress, Shown
from pbrl.training.result import Point, Result, final_score
from pbrl.training.run_folder import RunFolder
from pbrl.training.run_parts import About, Parts, RunConfig
from pbrl.training.scoring import Score
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
        save_on_error: write a checkpoint when the loop fails, so that no label given is lost.
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
        self._fingerprint = {"config": folder.config, **(belongs_to or {})}
        self.curve: list[Point] = []
        self.measures: dict[str, list[tuple[int, float]]] = {}
        self.score_name = ""
        self.random_score: float | None = None
        self.seconds = 0.0
        self.resumes = 0
        self.saved = (-1, -1)
        self.seeds_together = 1
        self._before = self._milestones_before = 0
        self._started = 0.0
        state: dict[str, Any] | None = None
        if has_checkpoint(folder.checkpoints):
            state, _ = load_checkpoint(folder.checkpoints, self._fingerprint)
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
            while not self.is_over:
                self.note_place()
                try:
                    self.loop.advance()
                except Exception:
                    self.save_after_error()
                    raise
                self.report()
                progress.update(**self.shown())
                if is_interrupted():
                    raise self.stopped()
            return self.finish()

    def begin(self, log: MetricsLog) -> None:
        """Start the clock, and score a random policy if that has not been done."""
        self._log = log
        self._started = time.perf_counter() - self.seconds
        if not self.score_name:
            self._score_random_policy()

    @property
    def is_over(self) -> bool:
        """Whether all steps are done."""
        return self.loop.step >= self.config.steps

    def note_place(self) -> None:
        """Note where the run is, before it advances."""
        self._before, self._milestones_before = self._position

    def is_saving(self) -> bool:
        """Whether a checkpoint is due after an advance."""
        is_milestone = self.loop.num_milestones > self._milestones_before
        return is_milestone or self._passed(self.config.checkpoint_every)

    def report(self) -> None:
        """Evaluate, log and save after an advance, as far as each is due."""
        values: dict[str, float] = {}
        if self._is_due(self.config.log_every):
            values |= self.loop.metrics()
        if self._is_due(self.config.eval_every):
            score = self.scorer()
            self.score_name = score.name
            self._keep(score)
            values |= score.metrics
        if values:
            self._log.write(self.loop.step, values)
        if time.monotonic() >= self._next_word:
            self._tell(self.loop.phase)
        if self.is_saving():
            self._checkpoint()

    def shown(self) -> Shown:
        """Return what a progress view shows."""
        return {
            "step": self.loop.step,
            "labels": self.loop.num_asked,
            "reward_accuracy": self.loop.reward_accuracy,
            "score": self.curve[-1][1] if self.curve else None,
            "phase": self.loop.phase,
        }

    def save_after_error(self) -> None:
        """Write a checkpoint if labels would be lost otherwise."""
        if self.save_on_error:
            self._checkpoint()

    def stopped(self) -> Interrupted:
        """Write a checkpoint, and return what to raise."""
        self._checkpoint()
        self._tell("stopped, --resume goes on")
        return Interrupted(
            f"stopped at step {self.loop.step:,}; the checkpoint is written, go on with --resume"
        )

    def finish(self) -> Result:
        """Write the last checkpoint and the result."""
        if self.saved != self._position:
            self._checkpoint()
        return self._result()

    def _score_random_policy(self) -> None:
        score = self.scorer.random()
        if score is not None:
            self.score_name, self.random_score = score.name, score.value

    def _passed(self, every: int) -> bool:
        return self._before // every != self.loop.step // every

    def _is_due(self, every: int) -> bool:
        is_over = self.loop.step > self._before and self.is_over
        return self._passed(every) or is_over

    def _keep(self, score: Score) -> None:
        """Note an evaluation for the result; a number that is not finite is for the log alone."""
        step = self.loop.step
        self.curve.append((step, score.value, self.loop.num_asked))
        for name, value in score.metrics.items():
            if name != f"eval/{score.name}" and math.isfinite(value):
                self.measures.setdefault(name, []).append((step, value))

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
            score_name=self.score_name,
            curve=tuple(self.curve),
            is_asking=loop.is_asking and not is_over,
            is_over=is_over,
        )
        self._follower.follow(status)
        self._next_word = time.monotonic() + FOLLOW_SECONDS

    @property
    def _position(self) -> tuple[int, int]:
        return self.loop.step, self.loop.num_milestones

    def _checkpoint(self) -> None:
        self.seconds = time.perf_counter() - self._started
        self.saved = self._position
        save_checkpoint(
            self.folder.checkpoints,
            {
                "loop": self.loop.state_dict(),
                "curve": self.curve,
                "measures": self.measures,
                "score_name": self.score_name,
                "random_score": self.random_score,
                "seconds": self.seconds,
                "resumes": self.resumes,
            },
            step=self.loop.step,
            fingerprint=self._fingerprint,
        )
        self.loop.saved()

    def _restore(self, state: dict[str, Any]) -> None:
        self.loop.load_state_dict(state["loop"])
        self.curve = [(step, score, labels) for step, score, labels in state["curve"]]
        self.measures = {
            name: [(step, value) for step, value in points]
            for name, points in state.get("measures", {}).items()  # older ones lack it
        }
        self.score_name = state["score_name"]
        self.random_score = state["random_score"]
        self.seconds = state["seconds"]
        self.saved = self._position
        self.loop.saved()

    def _result(self) -> Result:
        loop, config, about = self.loop, self.config, self.about
        self.curve.sort()
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
            score_name=self.score_name,
            score=final_score(self.curve, config.score_evaluations),
            score_evaluations=min(config.score_evaluations, len(self.curve)),
            curve=tuple(self.curve),
            random_score=self.random_score,
            wall_seconds=self.seconds,
            updates_per_second=loop.num_updates / self.seconds,
            versions=versions(),
            machine=machine(),
            commit=commit(),
            config=self.folder.config,
            environment=dict(about.environment),
            seeds_together=self.seeds_together,
            measures={name: tuple(points) for name, points in self.measures.items()},
        )
        result.save(self.folder.result)
        self._tell("", is_over=True)
        return result
