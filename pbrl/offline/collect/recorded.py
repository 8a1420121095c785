"""Episodes that were recorded before, out of a dataset or the replay buffer of a run."""

import torch

from pbrl.offline.collect.episodes import Episode
from pbrl.offline.dataset import OfflineDataset
from pbrl.offline.steps import dataset_steps


def recorded_episodes(dataset: OfflineDataset) -> list[Episode]:
    """Return the episodes of a dataset, in its order.

    Raises:
        ValueError: if it does not hold what came after the last action of each.
    """
    if not dataset.has_last_observations:
        raise ValueError(f"{dataset.info.name} lacks the observations after the last actions")
    steps = dataset_steps(dataset.replay)
    lengths = steps.lengths.tolist()
    parts = zip(
        steps.observations.cpu().split(lengths),
        steps.actions.cpu().split(lengths),
        steps.true_rewards.cpu().split(lengths),
        steps.last_observations.cpu(),
        steps.terminated.tolist(),
        strict=True,
    )
    return [
        Episode(
            observations=torch.cat([observations, last[None]]).numpy(),
            actions=actions.numpy(),
            rewards=rewards.numpy(),
            terminated=terminated,
        )
        for observations, actions, rewards, last, terminated in parts
    ]
