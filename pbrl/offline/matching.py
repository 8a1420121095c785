"""Whether a dataset fits the environment that a policy is to act in."""

from typing import Any

from gymnasium.vector import VectorEnv

from pbrl.offline.checks import DatasetError
from pbrl.offline.dataset import OfflineDataset


def check_matches(dataset: OfflineDataset, env: VectorEnv[Any, Any, Any]) -> None:
    """Refuse a dataset whose observations or actions have another size than an environment's.

    Args:
        dataset: what was loaded.
        env: from `pbrl.envs.make`.

    Raises:
        DatasetError: naming the dataset, the environment and both sizes.
    """
    record = getattr(env, "record", None)
    name = record.id if record is not None else str(env)
    observations, actions = env.single_observation_space, env.single_action_space
    spaces = {"observations": observations, "actions": actions}
    sizes = {"observations": dataset.observation_dim, "actions": dataset.action_dim}
    for what, space in spaces.items():
        if space.shape != (sizes[what],):
            raise DatasetError(
                f"dataset {dataset.info.name} does not fit environment {name}: its {what} have "
                f"{sizes[what]} entries, the environment's have shape {space.shape}"
            )
