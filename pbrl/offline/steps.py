"""The steps of a dataset as flat arrays, one episode after the other."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pbrl.replay import ReplayBuffer


@dataclass(frozen=True)
class DatasetSteps:
    """Views of all steps of the complete episodes 0, 1, ... of a dataset.

    Attributes:
        observations: what the agent saw before each action.
        actions: what it did.
        true_rewards: the environment's rewards.
        episode: episode of each step.
        steps_left: steps from each one to the end of its episode, itself included.
        lengths: steps of each episode.
        last_observations: observation after each episode's last action.
        terminated: whether each episode ended in a terminal state.
    """

    observations: Float[Tensor, "step obs"]
    actions: Float[Tensor, "step act"]
    true_rewards: Float[Tensor, " step"]
    episode: Int[Tensor, " step"]
    steps_left: Int[Tensor, " step"]
    lengths: Int[Tensor, " episode"]
    last_observations: Float[Tensor, "episode obs"]
    terminated: Bool[Tensor, " episode"]

    def __len__(self) -> int:
        return len(self.true_rewards)

    @property
    def first_rows(self) -> Int[Tensor, " episode"]:
        """Row of the first step of each episode."""
        return self.lengths.cumsum(0) - self.lengths

    @property
    def is_last(self) -> Bool[Tensor, " step"]:
        """Whether a step is the last of its episode."""
        return self.steps_left == 1

    def next_observations(self, rows: Int[Tensor, " row"]) -> Float[Tensor, "row obs"]:
        """Return what came after each action; after the last the episode's last observation."""
        following = self.observations[(rows + 1).clamp(max=len(self) - 1)]
        ends = self.last_observations[self.episode[rows]]
        return torch.where(self.is_last[rows][:, None], ends, following)

    def returns(self) -> Float[Tensor, " episode"]:
        """Return the sum of the true rewards of each episode, in float64."""
        totals = torch.zeros(len(self.lengths), dtype=torch.float64, device=self.lengths.device)
        return totals.index_add(0, self.episode, self.true_rewards.double())


def dataset_steps(replay: ReplayBuffer) -> DatasetSteps:
    """Return the steps of a buffer made by `ReplayBuffer.from_episodes`, without copying them.

    Raises:
        ValueError: if steps were added to the buffer one by one, or none are in it.
    """
    state = replay.state_dict()
    ring, columns = state["ring"], state["episodes"]["columns"]
    complete = columns["_complete"]
    lengths = columns["_length"][complete]
    if ring["num_envs"] != 1 or int(lengths.sum()) != replay.num_steps or not len(lengths):
        raise ValueError("expected the complete episodes of a dataset, one after the other")
    episode = ring["episode"].long()
    first = lengths.cumsum(0) - lengths
    time = torch.arange(len(episode), device=episode.device) - first[episode]
    return DatasetSteps(
        observations=ring["observations"],
        actions=ring["actions"],
        true_rewards=ring["true_rewards"],
        episode=episode,
        steps_left=lengths[episode] - time,
        lengths=lengths,
        last_observations=columns["_last_observation"][complete],
        terminated=columns["_terminated"][complete],
    )


def discounted_to_go(
    rewards: Float[Tensor, " step"], steps_left: Int[Tensor, " step"], discount: float
) -> Float[Tensor, " step"]:
    """Return sum_k gamma^k r_{t+k} until the end of the episode, for every step, in float64.

    Spans of 1, 2, 4, ... steps are joined, so a pass per power of two suffices.

    Args:
        rewards: of all steps, one episode after the other.
        steps_left: to the end of the episode, the step itself included.
        discount: gamma, in [0, 1].
    """
    total = rewards.double()
    span, longest = 1, int(steps_left.max()) if len(steps_left) else 0
    while span < longest:
        reaches = steps_left[:-span] > span
        further = torch.where(reaches, total[span:], 0.0)
        total = torch.cat([total[:-span] + discount**span * further, total[-span:]])
        span *= 2
    return total
