"""What the reward models of offline runs share: passes over labels, and steps part by part."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.feedback import LabelledQueries
from pbrl.offline.steps import dataset_steps
from pbrl.replay import ReplayBuffer
from pbrl.reward_learning_config import RewardLearningConfig
from pbrl.segments import Segments
from pbrl.tally import Tally

EVALUATED_AT_ONCE = 16_384  # steps

Step = Callable[[Segments, Float[Tensor, " query"], Float[Tensor, " query"], Tally], None]
"""Takes one gradient step from segments, labels and weights, and counts what is right."""


def fit_in_passes(
    step: Step,
    learning: RewardLearningConfig,
    labelled: LabelledQueries,
    replay: ReplayBuffer,
    generator: torch.Generator,
    max_steps: int | None,
) -> tuple[dict[str, float], Tally]:
    """Pass over the labels in minibatches until they are fitted; see `RewardLearner.fit`.

    Returns:
        reward/loss, reward/steps, and reward/accuracy if a label is not a tie; and the tally of the
        last pass.
    """
    device = replay.device
    most = learning.num_steps(len(labelled))
    most = most if max_steps is None else min(most, max_steps)
    labels, weights = labelled.labels.to(device), labelled.weights.to(device)
    tally, num_steps = Tally(device), 0
    while num_steps < most and not _is_reached(tally, learning.target_accuracy):
        tally = Tally(device)
        order = torch.randperm(len(labelled), generator=generator, device=generator.device)
        for rows in order.split(learning.batch_size)[: most - num_steps]:
            segments = replay.gather(labelled.index[rows.to(labelled.labels.device)])
            step(segments, labels[rows], weights[rows], tally)
            tally.num_steps += 1
            num_steps += 1
    metrics = {
        "reward/loss": tally.loss(),
        "reward/accuracy": tally.accuracy(),
        "reward/steps": float(num_steps),
    }
    return {name: value for name, value in metrics.items() if value is not None}, tally


def _is_reached(tally: Tally, target: float) -> bool:
    accuracy = tally.accuracy()
    return accuracy is not None and accuracy > target


def step_parts(replay: ReplayBuffer) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield observations and actions of a dataset's steps, in order, in parts that fit memory."""
    steps = dataset_steps(replay)
    return zip(
        steps.observations.split(EVALUATED_AT_ONCE),
        steps.actions.split(EVALUATED_AT_ONCE),
        strict=True,
    )
