"""Simulating labels for a dataset: the files, and the record of what they rest on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pbrl.checks import check_seed
from pbrl.offline.dataset import OfflineDataset
from pbrl.offline.files import check_new_file
from pbrl.offline.labels import save_scores
from pbrl.offline.load import load_dataset
from pbrl.offline.segment_scores import needs_value
from pbrl.offline.simulate import (
    Judge,
    ScoreConfig,
    decided_agreement,
    draw_segments,
    fit_teacher,
    label_pairs,
    score_segments,
)
from pbrl.offline.steps import dataset_steps
from pbrl.offline.values import (
    SAMPLED_ACTIONS,
    FittedValue,
    ValueConfig,
    ValueFunction,
    sac_value,
)
from pbrl.queries.teachers import TEACHERS, make_teacher
from pbrl.randomness import Generators
from pbrl.segments import SegmentIndex
from pbrl.training.actors import load_sac, parameters_checksum
from pbrl.training.files import plain, write_json
from pbrl.training.machine import commit, versions

FORMAT_VERSION = 1
PURPOSES = ("segments", "value", "teacher", "comparison")
_COMPARED_PAIRS = 20_000


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """Which labels to make for a dataset.

    Attributes:
        score: what makes one segment better than another.
        segments: how many segments get a score. CPL's dense data: 2,500.
        pairs: instead of scores, a teacher's answers to so many pairs of segments, each segment in
            one pair. CPL's sparse data: 10,000.
        length: steps of a segment. CPL: 64.
        teacher: name of the simulated teacher that answers pairs.
        value_from: run, checkpoint or SAC file of stable-baselines3 whose critics give the values
            of a regret, as CPL's oracle.
        value_data: without it, dataset that a value function is fitted to: episodes of whoever is
            to count as optimal. None takes the labelled dataset itself, whose behaviour then does.
        value: that regression; its discount is the score's.
        seed: of everything that is drawn.
    """

    score: ScoreConfig = field(default_factory=ScoreConfig)
    segments: int = 2_500
    pairs: int | None = None
    length: int = 64
    teacher: str = "oracle"
    value_from: Path | None = None
    value_data: str | None = None
    value: ValueConfig = field(default_factory=ValueConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name in ("segments", "length", *(["pairs"] if self.pairs is not None else [])):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.pairs is None and self.teacher != "oracle":
            raise ValueError(
                f"the teacher {self.teacher!r} answers pairs, and scores hold none: set pairs"
            )
        if self.value_from is not None and self.value_data is not None:
            raise ValueError("value_from and value_data exclude each other")


def simulate_labels(
    dataset_name: str,
    config: SimulationConfig,
    out: Path,
    on_update: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Write simulated labels and, beside them with the ending .json, what they rest on.

    The labels are scored segments (`pbrl.offline.labels.save_scores`), or for pairs a feedback
    record (`FeedbackStore.save`).

    Args:
        dataset_name: of the dataset, as `load_dataset` takes it.
        config: which labels.
        out: the file, ending in .npz.
        on_update: called with the gradient steps taken, where values are fitted.

    Returns:
        What the .json file holds.

    Raises:
        ValueError: if the dataset holds too few segments, or the oracle does not fit it.
        FileExistsError: if a file of that name is there.
        OSError: if a file cannot be read or written.
    """
    check_new_file(out, (".npz",), ".json")
    dataset = load_dataset(dataset_name)
    generators = Generators(config.seed, PURPOSES)
    number = config.segments if config.pairs is None else 2 * config.pairs
    index = draw_segments(dataset.replay, number, config.length, generators["segments"])
    value, value_record = _value(dataset, config, generators["value"], on_update)
    judge = Judge(dataset.replay, config.score, value)
    if config.pairs is None:
        save_scores(out, score_segments(judge, index), dataset.identity())
        counts = {"segments": number}
    else:
        store = label_pairs(
            judge,
            dataset.replay,
            index.reshape(config.pairs, 2),
            make_teacher(
                fit_teacher(TEACHERS[config.teacher], config.score.score), name=config.teacher
            ),
            generators["teacher"],
        )
        store.dataset = dataset.identity()
        store.save(out)
        counts = {"pairs": store.num_labelled, "ties": store.num_ties, "skips": store.num_skipped}
    record = {
        "format": FORMAT_VERSION,
        "dataset": {"name": dataset.info.name, "checksum": dataset.info.checksum},
        "config": plain(config),
        "counts": counts,
        "value": value_record,
        "agreement_with_return": _agreement(dataset, judge, index, generators["comparison"]),
        "versions": versions(),
        "commit": commit(),
    }
    write_json(out.with_suffix(".json"), record)
    return record


def _value(
    dataset: OfflineDataset,
    config: SimulationConfig,
    generator: torch.Generator,
    on_update: Callable[[int], None],
) -> tuple[ValueFunction | None, dict[str, Any] | None]:
    """Return the value function that the score needs, and what it is."""
    if not needs_value(config.score.score):
        return None, None
    if config.value_from is not None:
        return _oracle(dataset, config.value_from, generator)
    source = dataset if config.value_data is None else load_dataset(config.value_data)
    sizes = [one.replay.all_observations().shape[1] for one in (dataset, source)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"{dataset.info.name} has {sizes[0]} observed numbers, but {source.info.name}, which "
            f"the value is to be fitted to, has {sizes[1]}"
        )
    fit = ValueConfig(**(vars(config.value) | {"discount": config.score.discount}))
    value = FittedValue(dataset_steps(source.replay), fit, generator, on_update)
    return value, {
        "kind": "regression of discounted returns",
        "dataset": source.info.name,
        "checksum": source.info.checksum,
        "config": plain(fit),
        "explained_variance": value.explained_variance,
    }


def _oracle(
    dataset: OfflineDataset, path: Path, generator: torch.Generator
) -> tuple[ValueFunction, dict[str, Any]]:
    agent = load_sac(path)
    found = dataset.replay.all_observations().shape[1]
    if agent.observation_dim != found:
        raise ValueError(
            f"the critics of {path} observe {agent.observation_dim} numbers, but "
            f"{dataset.info.name} has {found}"
        )
    return sac_value(agent, generator), {
        "kind": "mean over sampled actions of the mean of two critics, without entropy",
        "critics": str(path),
        "sha256": parameters_checksum(agent.critic),
        "sampled_actions": SAMPLED_ACTIONS,
        "discount": agent.config.discount,
    }


def _agreement(
    dataset: OfflineDataset, judge: Judge, index: SegmentIndex, generator: torch.Generator
) -> float:
    """Return the share of random pairs of segments that the score orders as their returns do."""
    pairs = torch.randint(len(index), (_COMPARED_PAIRS, 2), generator=generator)
    returns = Judge(dataset.replay, ScoreConfig(score="return"))
    scores, others = (one.contributions(index).sum(-1) for one in (judge, returns))
    return decided_agreement(scores, others, pairs)
