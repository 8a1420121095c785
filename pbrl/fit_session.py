"""One fit of a reward ensemble: its examples, the order they are taken in, and when it is over."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from pbrl.examples import Examples
from pbrl.reward_learning_config import RewardLearningConfig
from pbrl.reward_steps import Step
from pbrl.tally import Tally


class FitSession:
    """One fit of a reward learner: its examples, and how far it is.

    Args:
        config: says when it is over.
        training: the examples to learn from.
        held_out: those to judge by.
        generator: source of the order of the examples.
        most: gradient steps that may be taken.
        metrics: what was learned beside.
        unlabelled: pairs without a label, where they are learned from.

    Attributes:
        tally: of the last pass, or of all where accuracy is taken over the session.
        num_steps: gradient steps taken.
    """

    def __init__(  # noqa: PLR0913, PLR0917  built in one place
        self,
        config: RewardLearningConfig,
        training: Examples,
        held_out: Examples,
        generator: torch.Generator,
        most: int,
        metrics: dict[str, float],
        unlabelled: Examples | None = None,
    ) -> None:
        self.config = config
        self.unlabelled = unlabelled
        self.training = training
        self.held_out = held_out
        self.generator = generator
        self.most = most
        self.metrics = metrics
        self.tally = Tally(training.labels.device)
        self.num_steps = 0

    @property
    def steps_per_pass(self) -> int:
        """Gradient steps of a whole pass."""
        return math.ceil(len(self.training) / self.config.batch_size)

    @property
    def is_over(self) -> bool:
        """Whether the steps are used up, or the accuracy is reached; this waits for the device."""
        if self.num_steps >= self.most:
            return True
        accuracy = self.tally.accuracy()
        if accuracy is None:
            return False
        if self.config.accuracy_over == "session":
            return accuracy >= self.config.target_accuracy
        return accuracy > self.config.target_accuracy

    def minibatches(self) -> Sequence[Int[Tensor, "member pair"]]:
        """Draw the order of a pass, each member its own; return what is left of it to take."""
        shape, device = self.training.weights.shape, self.training.labels.device
        order = torch.rand(shape, generator=self.generator, device=device).argsort(1)
        batches: Sequence[Tensor] = order.split(self.config.batch_size, dim=1)
        return batches[: self.most - self.num_steps]

    def take_passes(self, step: Step) -> None:
        """Pass over the examples, a gradient step for each minibatch, until the fit is over."""
        while not self.is_over:
            tally = Tally(self.training.labels.device)
            for batch in self.minibatches():
                step(batch, tally)
            self.took(tally)

    def took(self, tally: Tally) -> None:
        """Note a pass."""
        self.num_steps += tally.num_steps
        if self.config.accuracy_over == "session":
            tally = self.tally + tally
        self.tally = tally
