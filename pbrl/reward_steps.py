"""Gradient steps of a reward as they are, or recorded once and played back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from pbrl.examples import Examples
from pbrl.graphs import Recorder, Recordings, Results, Updates
from pbrl.randomness import RandomSource
from pbrl.tally import Tally

Step = Callable[[Int[Tensor, "*seed member pair"], Tally], None]
"""Takes a gradient step from the rows of a minibatch, and counts what it came to."""


@runtime_checkable
class TakesSteps(Protocol):
    """What learns from examples, such as a `RewardLearner`.

    Attributes:
        optimizer: takes the steps.
    """

    optimizer: torch.optim.Adam

    def take_step(
        self,
        examples: Examples,
        batch: Int[Tensor, "*seed member pair"],
        tally: Tally,
        generator: RandomSource,
        unlabelled: Examples | None = None,
    ) -> None:
        """Take one gradient step."""
        ...


@dataclass(frozen=True)
class StepData:
    """What the gradient steps of a fit, of one seed or of several, are taken from.

    Attributes:
        training: the examples to learn from.
        generator: of all that a step draws.
        unlabelled: pairs without a label, where they are learned from.
    """

    training: Examples
    generator: RandomSource
    unlabelled: Examples | None = None

    @property
    def is_recordable(self) -> bool:
        """Whether all that steps read stays where it is: what does not fit memory is gathered."""
        parts = (self.training, self.unlabelled)
        return all(part.windows.are_kept for part in parts if part is not None)


def make_step(learner: TakesSteps, data: StepData, updates: Updates = "eager") -> Step:
    """Return what takes the gradient steps of one fit; all ways come to the same numbers.

    Args:
        learner: takes them.
        data: what they are taken from.
        updates: "graph" plays back CUDA graphs where steps can be recorded; otherwise, and by
            "eager" and "compiled", they are made as they are.
    """
    if updates == "graph" and data.is_recordable:
        return RecordedStep(learner, data)

    def step(batch: Tensor, tally: Tally) -> None:
        learner.take_step(data.training, batch, tally, data.generator, data.unlabelled)

    return step


class RecordedStep:
    """Gradient steps of one fit, recorded by the size of their minibatch; see `Recordings`.

    They read the examples of the fit where these lie, so the next one, which has more, records its
    own. The last minibatch of a pass, which is smaller, has a recording for itself.

    Args:
        learner: takes them.
        data: what they are taken from.
        recorder: by default of CUDA graphs.
    """

    def __init__(
        self, learner: TakesSteps, data: StepData, recorder: Recorder | None = None
    ) -> None:
        seeds = data.training.weights.shape[:-2]

        # No method of self: without a circle the memory of the graphs is free once the fit is over.
        def run(batch: Tensor) -> Results:
            tally = Tally(batch.device, *seeds)
            learner.take_step(data.training, batch, tally, data.generator, data.unlabelled)
            return {"sums": tally.sums}

        self._recordings = Recordings(
            run,
            optimizers=lambda: [learner.optimizer],
            generator=data.generator,
            recorder=recorder,
        )

    def __call__(self, batch: Int[Tensor, "*seed member pair"], tally: Tally) -> None:
        """Take a gradient step and count what it came to."""
        tally.add_step(self._recordings(batch)["sums"])
