"""The runs of several seeds, side by side, whose learning is one computation."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean

from pbrl.linear import matmul_precision
from pbrl.training.interruption import Interrupted, interruptible
from pbrl.training.metrics import MetricsLog
from pbrl.training.progress import Progress, Shown
from pbrl.training.result import Result
from pbrl.training.runner import Run
from pbrl.training.threads import torch_threads
from pbrl.training.together import LearningLoop, Together


class SeedRuns:
    """Runs of equal configuration but for their seeds.

    Each keeps its folder, its evaluations, its checkpoints and its result; the seconds of a result
    are those of all, and it says so by `seeds_together`.

    Args:
        runs: at least one.

    Raises:
        ValueError: if the method takes no axis of seeds.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = list(runs)
        loops = [run.loop for run in runs if isinstance(run.loop, LearningLoop)]
        if len(loops) < len(self.runs):
            raise TypeError("seeds can only be trained together by loops that can be cut")
        self._together = Together(loops, self.runs[0].config.updates)
        self._run_of = {id(loop): run for loop, run in zip(loops, self.runs, strict=True)}
        for run in self.runs:
            run.seeds_together = len(self.runs)

    def go(
        self,
        logs: Sequence[MetricsLog],
        progress: Progress,
        is_interrupted: Callable[[], bool],
    ) -> list[Result]:
        """Run to the end of all seeds, and return their results in their order.

        Raises:
            Interrupted: if asked to stop.
        """
        config = self.runs[0].config
        with torch_threads(config.threads), matmul_precision(config.precision):
            for run, log in zip(self.runs, logs, strict=True):
                run.begin(log)
                run.note_beginning(progress)
            with self._saving_after_errors():
                for run in self.runs:
                    run.catch_up()
            while not all(run.is_over for run in self.runs):
                self._advance()
                progress.update(**self.shown())
                if is_interrupted():
                    raise self._stopped()
            self._together.settle()
            return [run.finish() for run in self.runs]

    def _advance(self) -> None:
        with self._saving_after_errors():
            for run in self.runs:
                run.note_place()
            loops = self._together.advance(self.runs[0].config.steps)
            for run in self.runs:
                run.note_advance()
            advanced = [self._run_of[id(loop)] for loop in loops]
            if any(run.is_saving() for run in advanced):
                self._together.settle()
            for run in advanced:
                run.report()

    @contextmanager
    def _saving_after_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._together.settle()
            for run in self.runs:
                run.save_after_error(error)
            raise

    def _stopped(self) -> Interrupted:
        self._together.settle()
        return [run.stopped() for run in self.runs][0]

    def shown(self) -> Shown:
        """Return what a progress view shows: means over the seeds, and the step of the last."""
        shown = [run.shown() for run in self.runs]
        last = min(shown, key=lambda one: one["step"])
        scores = [one["score"] for one in shown if one["score"] is not None]
        found = [one["reward_accuracy"] for one in shown if one["reward_accuracy"] is not None]
        return {
            "step": last["step"],
            "labels": last["labels"],
            "labels_given": last["labels_given"],
            "reward_accuracy": fmean(found) if found else None,
            "score": fmean(scores) if scores else None,
            "phase": last["phase"],
        }


def go_together(
    opened: Sequence[tuple[Run, MetricsLog]], progress: Callable[[int, str], Progress]
) -> list[Result]:
    """Run seeds to their end, and return their results in their order.

    Args:
        opened: the runs, at their start or where they were left, with their logs.
        progress: returns the view of all of them, given their step and how many they are in words.

    Raises:
        Interrupted: after Ctrl-C or a termination signal.
        ValueError: if the method takes no axis of seeds.
    """
    runs = SeedRuns([run for run, _ in opened])
    with (
        progress(runs.shown()["step"], f"{len(opened)} seeds") as view,
        interruptible() as is_interrupted,
    ):
        return runs.go([log for _, log in opened], view, is_interrupted)
