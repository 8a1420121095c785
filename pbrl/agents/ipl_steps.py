"""The transitions that Inverse Preference Learning takes from segments and from the dataset."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pbrl.pairs import PairBatch
from pbrl.replay import Batch


@dataclass(frozen=True)
class Steps:
    """Transitions of both sources in one batch, those of the segments first.

    Those of several seeds have one more axis in front.

    Attributes:
        observations: `[batch, obs]`.
        actions: `[batch, act]`.
        next_observations: `[batch, obs]`.
        discount: gamma, and 0 where the next state is terminal.
        weights: of each transition in a mean over transitions; they sum to 1.
        in_segment: which transitions of the segments are real, `[query, two, step]`.
    """

    observations: Float[Tensor, "*seed batch obs"]
    actions: Float[Tensor, "*seed batch act"]
    next_observations: Float[Tensor, "*seed batch obs"]
    discount: Float[Tensor, "*seed batch"]
    weights: Float[Tensor, "*seed batch"]
    in_segment: Bool[Tensor, "*seed query two step"]

    def mean(self, values: Float[Tensor, "*seed batch"]) -> Float[Tensor, "*seed"]:
        """Return the mean of a number per transition by their weights."""
        return (values * self.weights).sum(-1)


def join_steps(
    pairs: PairBatch, transitions: Batch | None, discount: float, dataset_weight: float
) -> Steps:
    """Return the transitions inside segments, and of the dataset, with their weights.

    A segment of H steps has H - 1 transitions, of which none counts as terminal, as in IPL's code.

    Args:
        pairs: labelled pairs; padding weighs nothing.
        transitions: of the dataset; without them the segments have all the weight.
        discount: gamma.
        dataset_weight: share of the transitions of the dataset.
    """
    segments = pairs.segments
    in_segment = segments.mask[..., 1:]
    real = in_segment.flatten(-3).to(segments.observations.dtype)
    observations = [segments.observations[..., :-1, :].flatten(-4, -2)]
    actions = [segments.actions[..., :-1, :].flatten(-4, -2)]
    following = [segments.observations[..., 1:, :].flatten(-4, -2)]
    discounts, weights = [torch.full_like(real, discount)], [real / real.sum(-1, keepdim=True)]
    if transitions is not None:
        observations.append(transitions.observations)
        actions.append(transitions.actions)
        following.append(transitions.next_observations)
        discounts.append(discount * (1 - transitions.terminated))
        share = torch.full_like(
            transitions.terminated, dataset_weight / transitions.rewards.shape[-1]
        )
        weights = [(1 - dataset_weight) * weights[0], share]
    return Steps(
        torch.cat(observations, -2),
        torch.cat(actions, -2),
        torch.cat(following, -2),
        torch.cat(discounts, -1),
        torch.cat(weights, -1),
        in_segment,
    )
