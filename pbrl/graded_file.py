"""Ratings and rankings as files that hold their segments, so that nothing else is needed to learn.

| key | ratings | rankings |
| --- | --- | --- |
| obs | segment, time, feature | list, item, time, feature |
| action | likewise | likewise |
| grade | segment: the class, 0 the worst | list, item: higher is better |
| num_classes | how many classes there are | absent |
| annotator | segment: who rated it | list: who ranked it |
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex

_AXES = {3: "ratings", 4: "rankings"}


@dataclass(frozen=True, kw_only=True)
class GradedSegments:
    """Segments with grades, for `pbrl.graded_learning.GradedLearner`.

    Attributes:
        replay: the segments, each an episode.
        index: of the segments, `[segment]` or `[list, item]`.
        grades: the class of each segment, or what it is worth in its list.
        num_classes: of ratings; None for rankings.
        annotators: who graded each segment or list.
        observation_dim, action_dim: sizes of what a reward of these segments sees.
    """

    replay: ReplayBuffer
    index: SegmentIndex
    grades: Float[Tensor, "*shape"]
    num_classes: int | None
    annotators: tuple[str, ...]
    observation_dim: int
    action_dim: int


def load_graded(path: Path | str) -> GradedSegments:
    """Return what a file of ratings or rankings holds; nothing in it is unpickled.

    Raises:
        ValueError: if it is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        observations, actions, grades = (arrays[key] for key in ("obs", "action", "grade"))
        annotators = arrays["annotator"]
    except (KeyError, EOFError) as error:
        raise ValueError(f"{path} holds no graded segments: {error} is missing") from None
    shape = observations.shape[:-2]
    is_whole = observations.ndim in _AXES and actions.ndim == observations.ndim
    if not is_whole or actions.shape[:-1] != observations.shape[:-1] or grades.shape != shape:
        raise ValueError(
            f"{path}: obs, action and grade must agree on their segments, found "
            f"{observations.shape}, {actions.shape} and {grades.shape}"
        )
    number, length = int(np.prod(shape)), observations.shape[-2]
    flat = torch.from_numpy(observations.astype(np.float32)).reshape(-1, observations.shape[-1])
    replay = ReplayBuffer.from_episodes(
        observations=flat,
        actions=torch.from_numpy(actions.astype(np.float32)).reshape(-1, actions.shape[-1]),
        true_rewards=torch.zeros(number * length),
        last_observations=flat[length - 1 :: length],
        lengths=torch.full((number,), length),
        terminated=torch.zeros(number, dtype=torch.bool),
    )
    episode = torch.arange(number).reshape(shape)
    classes = arrays.get("num_classes")
    return GradedSegments(
        replay=replay,
        index=SegmentIndex(episode, torch.zeros_like(episode), torch.full_like(episode, length)),
        grades=torch.from_numpy(grades.astype(np.float32)),
        num_classes=None if classes is None else int(classes),
        annotators=tuple(map(str, annotators)),
        observation_dim=observations.shape[-1],
        action_dim=actions.shape[-1],
    )
