"""NPZ files that hold the segments themselves: pairs with labels, and segments with scores."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from pbrl.offline.dataset import DatasetInfo, OfflineDataset
from pbrl.offline.labels.table import LabelTable, ScoreTable, label_table
from pbrl.offline.npz import npz_names, read_npz
from pbrl.offline.reference_scores import D4RL_DATASETS, d4rl_name, reference_scores
from pbrl.replay import ReplayBuffer

PAIR_KEYS = ("obs_1", "obs_2", "action_1", "action_2", "label")
PAIR_REWARDS = ("reward_1", "reward_2")
ANNOTATOR, WEIGHT = "annotator", "weight"  # of each answer, in files that this project writes
SEGMENT_KEYS = ("obs", "action", "reward")
SCORES = ("rl_sum", "rl_dis_sum", "rl_dir", "rl_dis_dir", "rl_lp", "rl_l2")
DEFAULT_SCORE = "rl_sum"  # the regret that CPL learns from (Hejna et al. 2024)
_DIGEST_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class SegmentArrays:
    """Segments of one length, as read from a file.

    Attributes:
        observations: what the agent saw before each action.
        actions: in [-1, 1].
        rewards: the environment's; zeros where the file has none.
    """

    observations: Float[np.ndarray, "segment time obs"]
    actions: Float[np.ndarray, "segment time act"]
    rewards: Float[np.ndarray, "segment time"]

    def __len__(self) -> int:
        return len(self.observations)

    def digests(self) -> Int[np.ndarray, " segment"]:
        """Return a number for each segment that equal segments share, whatever file they are in."""
        return segment_digests(self.observations, self.actions)

    def episodes(self) -> Int[np.ndarray, " segment"]:
        """Return which episode of `segment_dataset` each segment is."""
        _, places, which = np.unique(self.digests(), return_index=True, return_inverse=True)
        episodes: Int[np.ndarray, " segment"] = places.argsort().argsort()[which.reshape(-1)]
        return episodes


def segment_digests(
    observations: Float[np.ndarray, "segment time obs"],
    actions: Float[np.ndarray, "segment time act"],
) -> Int[np.ndarray, " segment"]:
    """Return 64 bits of a hash of every segment's observations and actions."""
    content = zip(np.ascontiguousarray(observations), np.ascontiguousarray(actions), strict=True)
    digests = [
        hashlib.blake2b(seen.tobytes() + done.tobytes(), digest_size=_DIGEST_BYTES).digest()
        for seen, done in content
    ]
    return np.frombuffer(b"".join(digests), np.int64)


def read_pairs(path: Path) -> tuple[SegmentArrays, LabelTable]:
    """Read pairs as IPL's and CPL's files hold them (Hejna and Sadigh 2023; Hejna et al. 2024).

    The keys are obs_1, obs_2 `[query, time, obs]`, action_1, action_2 and label, the probability
    that the second segment is preferred: this project's own convention. Files that it writes may
    have weight and annotator `[query]`, CPL's older files reward_1 and reward_2. Its code turns
    their pairs into twice as many segments scored 1 - label and label; here they stay pairs, since
    segments of two queries were never compared.

    Returns:
        The segments, first and second one of each query in turn, and the table of labels.

    Raises:
        ValueError: naming the file, the key, what came and what was expected.
    """
    names = npz_names(path)
    has_rewards = set(PAIR_REWARDS) <= names
    told = [name for name in (ANNOTATOR, WEIGHT) if name in names]
    wanted = (*PAIR_KEYS, *(PAIR_REWARDS if has_rewards else ()), *told)
    arrays = read_npz(path, wanted, texts=(ANNOTATOR,))
    if not has_rewards:
        seen = (arrays["obs_1"], arrays["obs_2"])
        arrays |= {
            name: np.zeros(observations.shape[:2])
            for name, observations in zip(PAIR_REWARDS, seen, strict=True)
        }
    first, second = (
        check_segments(path, [arrays[f"{key}{suffix}"] for key in SEGMENT_KEYS], suffix)
        for suffix in ("_1", "_2")
    )
    labels = arrays["label"]
    if first.observations.shape != second.observations.shape or labels.shape != (len(first),):
        raise ValueError(
            f"{path}: obs_1, obs_2 and label must have one row per query, found shapes "
            f"{first.observations.shape}, {second.observations.shape} and {labels.shape}"
        )
    legal = (labels >= 0) & (labels <= 1)
    if not legal.all():
        raise ValueError(
            f"{path}: label is the probability that the second segment is preferred and must lie "
            f"in [0, 1], found {labels[~legal][0]}"
        )
    segments = SegmentArrays(
        observations=_in_turn(first.observations, second.observations),
        actions=_in_turn(first.actions, second.actions),
        rewards=_in_turn(first.rewards, second.rewards),
    )
    digests = segments.digests().reshape(-1, 2, 1)
    annotator = next((name for name in ("script", "human") if name in path.stem), "unknown")
    table = label_table(digests, "content", labels, annotator=annotator, source=str(path))
    return segments, replace(table, **_told(path, {name: arrays[name] for name in told}, labels))


def _told(
    path: Path, arrays: Mapping[str, np.ndarray], labels: Float[np.ndarray, " query"]
) -> dict[str, Any]:
    """Return the fields of a table that hold who gave each answer, and its weight."""
    for name, array in arrays.items():
        if array.shape != labels.shape:
            raise ValueError(
                f"{path}: {name} must have one entry per query, {len(labels)}, found shape "
                f"{array.shape}"
            )
    fields: dict[str, Any] = {}
    if WEIGHT in arrays:
        weights = arrays[WEIGHT].astype(np.float64)
        refused = ~(np.isfinite(weights) & (weights >= 0))
        if refused.any():
            raise ValueError(
                f"{path}: {WEIGHT} must be finite and not negative, found {weights[refused][0]}"
            )
        fields["weights"] = weights
    if ANNOTATOR in arrays:
        fields["annotators"] = tuple(arrays[ANNOTATOR].tolist())
    return fields


def read_scored_segments(path: Path, score: str | None = None) -> tuple[SegmentArrays, ScoreTable]:
    """Read segments with scores as CPL's Meta-World files hold them (Hejna et al. 2024).

    The keys are obs `[segment, time, obs]`, action, reward and at least one of the scores rl_sum,
    rl_dis_sum, rl_dir, rl_dis_dir, rl_lp and rl_l2; higher is better. Of two segments the one with
    the higher score is preferred.

    Args:
        path: the file.
        score: which of them; rl_sum by default.

    Raises:
        ValueError: naming the file, the key, what came and what was expected.
    """
    names = npz_names(path)
    chosen = score or DEFAULT_SCORE
    if chosen not in names & set(SCORES):
        raise ValueError(
            f"{path} has no score {chosen}; it has {', '.join(sorted(names & set(SCORES)))}"
        )
    arrays = read_npz(path, (*SEGMENT_KEYS, chosen))
    segments = check_segments(path, [arrays[key] for key in SEGMENT_KEYS], "")
    scores = arrays[chosen].astype(np.float64)
    if scores.shape != (len(segments),) or not np.isfinite(scores).all():
        raise ValueError(
            f"{path}: {chosen} must hold one finite score for each of {len(segments)} segments, "
            f"found shape {scores.shape}"
        )
    table = ScoreTable(
        segments=segments.digests()[:, None],
        named_by="content",
        scores=scores,
        source=str(path),
        score_name=chosen,
    )
    return segments, table


def check_segments(path: Path, arrays: list[np.ndarray], suffix: str) -> SegmentArrays:
    """Return segments in single precision, after checking that they are such.

    Args:
        path: the file, for messages.
        arrays: observations, actions and rewards.
        suffix: of their keys, likewise.

    Raises:
        ValueError: naming the file, the key, what came and what was expected.
    """
    observations, actions, rewards = arrays
    num_axes = tuple(array.ndim for array in arrays)
    if num_axes != (3, 3, 2) or 0 in observations.shape or 0 in actions.shape:
        raise ValueError(
            f"{path}: obs{suffix} and action{suffix} must have three axes, segment, time and "
            f"feature, none of them empty, found {observations.shape} and {actions.shape}; images "
            "are not read here"
        )
    if not observations.shape[:2] == actions.shape[:2] == rewards.shape:
        raise ValueError(
            f"{path}: obs{suffix}, action{suffix} and reward{suffix} must agree on segments and "
            f"time, found {observations.shape}, {actions.shape} and {rewards.shape}"
        )
    for key, array in zip(SEGMENT_KEYS, arrays, strict=True):
        with np.errstate(over="ignore"):
            if not np.isfinite(array.astype(np.float32)).all():
                raise ValueError(f"{path}: {key}{suffix} has values that are not finite numbers")
    if np.abs(actions).max() > 1:
        raise ValueError(
            f"{path}: action{suffix} must lie in [-1, 1], found {actions.min()} to {actions.max()}"
        )
    return SegmentArrays(
        observations=observations.astype(np.float32),
        actions=actions.astype(np.float32),
        rewards=rewards.astype(np.float32),
    )


def segment_dataset(segments: SegmentArrays, path: Path) -> OfflineDataset:
    """Return a dataset whose episodes are the distinct segments, in the order of their appearance.

    Nobody knows what came after a segment's last action; in its place stands its last observation.
    In a folder that bears the name of a D4RL dataset, as IPL's do, environment and reference scores
    are that dataset's.
    """
    folder = path.absolute().parent.name  # also of a file named without its folder
    digests = segments.digests()
    _, places = np.unique(digests, return_index=True)
    places = np.sort(places)
    num_segments, length = len(places), segments.observations.shape[1]
    observations = torch.from_numpy(segments.observations[places])
    replay = ReplayBuffer.from_episodes(
        observations=observations.flatten(0, 1),
        actions=torch.from_numpy(segments.actions[places]).flatten(0, 1),
        true_rewards=torch.from_numpy(segments.rewards[places]).flatten(),
        last_observations=observations[:, -1],
        lengths=torch.full((num_segments,), length),
        terminated=torch.zeros(num_segments, dtype=torch.bool),
    )
    source = d4rl_name(folder)
    info = DatasetInfo(
        name=f"{folder}/{path.stem}",
        family="pairs",
        env=D4RL_DATASETS[source].env if source else None,
        reference=reference_scores(source) if source else None,
        checksum=hashlib.sha256(digests[places].tobytes()).hexdigest(),
        metadata={"segments": str(num_segments), "length": str(length)},
    )
    return OfflineDataset(info, replay, has_last_observations=False)


def _in_turn(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return [first of query 0, second of query 0, first of query 1, ...]."""
    both = np.stack([first, second], 1)
    return both.reshape(-1, *first.shape[1:])
