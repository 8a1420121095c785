"""One type for every offline dataset: complete episodes on one device, and where they come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int

from pbrl.dataset_identity import DatasetIdentity, identify
from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex


@dataclass(frozen=True)
class ReferenceScores:
    """Returns of a random and an expert policy, between which returns are normalised.

    Attributes:
        random: return that counts as 0.
        expert: return that counts as 100.
        family: the datasets that these belong to, for instance "d4rl-v2"; scores of two families
            are never comparable.
    """

    random: float
    expert: float
    family: str

    def normalized(
        self, returns: Float[np.ndarray, "*shape"] | float
    ) -> Float[np.ndarray, "*shape"] | float:
        """Return 100 (return - random) / (expert - random)."""
        return 100.0 * (returns - self.random) / (self.expert - self.random)


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """Where a dataset comes from.

    Attributes:
        name: as its family calls it, for instance "hopper-medium-expert-v2".
        family: "d4rl", "minari", "robomimic", "npz", "pairs" or "run".
        env: environment id to evaluate in; None where there is no environment.
        goal_visible: option of that environment.
        checksum: SHA-256, hexadecimal, of the file or, where it holds more, of the content. What
            tells a dataset in whatever file is `OfflineDataset.identity`.
        reference: what normalises returns; None where the family has no such numbers.
        metadata: anything else that the source says about itself.
    """

    name: str
    family: str
    env: str | None = None
    goal_visible: bool = False
    checksum: str = ""
    reference: ReferenceScores | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RowNumbers:
    """A numbering of transitions that label files index.

    Attributes:
        episode: episode of each row.
        step: step of each row within its episode.
    """

    episode: Int[np.ndarray, " row"]
    step: Int[np.ndarray, " row"]

    def __len__(self) -> int:
        return len(self.episode)


@dataclass(frozen=True)
class OfflineDataset:
    """Complete episodes, with identifiers 0, 1, ... in the order of the source.

    True rewards are kept beside the reward to learn from, which is zero until something fills it.

    Attributes:
        info: where the data come from.
        replay: the episodes. Actions lie in [-1, 1] whatever the source's unit was.
        has_last_observations: whether the observation after each episode's last action is known.
            Where it is not, as in files of loose segments, the last transition of an episode is
            never drawn.
        rows: the source's own numbering of transitions, if label files use one.
    """

    info: DatasetInfo
    replay: ReplayBuffer
    has_last_observations: bool = True
    rows: RowNumbers | None = None

    def identity(self) -> DatasetIdentity:
        """Return what labels of this dataset are to say of it."""
        return identify(self.info.name, self.replay)

    @property
    def observation_dim(self) -> int:
        """Size of an observation."""
        return self.replay.observation_dim

    @property
    def action_dim(self) -> int:
        """Size of an action."""
        first = SegmentIndex(*torch.tensor([[0], [0], [1]], device=self.replay.device))
        return self.replay.gather(first).actions.shape[-1]
