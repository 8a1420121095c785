"""Labels carried from one dataset to another: the files, and the report on what they rest on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.checks import check_seed
from pbrl.feedback import TIE, Answers, FeedbackStore, LabelledQueries
from pbrl.offline.files import check_new_file
from pbrl.offline.transfer import TransferConfig, Transferred, transfer_labels
from pbrl.offline.transfer.transfer import Round
from pbrl.replay import ReplayBuffer
from pbrl.training.files import plain, write_json
from pbrl.training.fit_config import DataConfig
from pbrl.training.fit_data import fingerprint, load_data
from pbrl.training.machine import commit, versions
from pbrl.training.transport_picture import transport_picture

FORMAT_VERSION = 1
ANNOTATOR = "transfer"
HISTOGRAM_BINS = 10


class Sources(NamedTuple):
    """Where labels come from and go to.

    Attributes:
        source: dataset with labelled segments.
        labels: file or folder of those labels; None where the dataset holds them.
        target: dataset without labels.
        score: which score of a CPL file.
    """

    source: str
    labels: str | None
    target: str
    score: str | None = None


def transfer_files(
    sources: Sources, config: TransferConfig, out: Path, *, seed: int = 0
) -> dict[str, Any]:
    """Write transferred labels, a report beside them (.json) and a picture of the plans (.png).

    The labels are a feedback record, read by `pbrl fit` like any other. Its notes are what is
    doubtful of them, so that whoever learns from them is warned as well.

    Args:
        sources: what is read.
        config: how labels are carried over.
        out: the file, ending in .npz.
        seed: of the segments and pairs that are drawn.

    Returns:
        What the .json file holds.

    Raises:
        ValueError: if a dataset or its labels do not serve, see `transfer_labels`.
        FileExistsError: if a file of that name is there.
        OSError: if a file cannot be read or written.
    """
    check_seed(seed)
    check_new_file(out, (".npz",), ".json", ".png")
    source = load_data(sources.source, sources.labels, DataConfig(score=sources.score), "cpu")
    if source.preferences is None:
        raise ValueError(f"{sources.source} holds no labels: name a file of them with labels")
    target = load_data(sources.target, None, DataConfig(), "cpu").dataset
    generator = torch.Generator().manual_seed(seed)
    made = transfer_labels(
        source.dataset.replay, source.preferences, target.replay, config, generator
    )
    store = to_store(made.labelled())
    store.notes += made.warnings
    store.dataset = target.identity()
    report = {
        "format": FORMAT_VERSION,
        "dataset": {"name": target.info.name, "checksum": target.info.checksum},
        "source": fingerprint(source),
        "config": plain(config),
        "seed": seed,
        **describe(made, target.replay),
        "versions": versions(),
        "commit": commit(),
    }
    store.save(out)
    write_json(out.with_suffix(".json"), report)
    transport_picture(made, out.with_suffix(".png"))
    return report


def to_store(labelled: LabelledQueries) -> FeedbackStore:
    """Return labels as a feedback record."""
    store = FeedbackStore()
    ids = store.ask(labelled.index, step=0)
    store.answer(Answers.of(ids, labelled.labels, ANNOTATOR))
    return store


def describe(made: Transferred, target: ReplayBuffer) -> dict[str, Any]:
    """Return what can be said of transferred labels.

    `accuracy` is the share of pairs that the true returns order as the label does, ties of the
    returns left out, and `accuracy_of_all` that of every pair of the aligned segments; None where
    the target holds no true reward.
    """
    labelled = made.labelled()
    returns = target.gather(made.segments).true_returns().cpu()
    is_known = bool(target.all_true_rewards().any())
    used, there_are = made.used or (None, None)
    row, column = torch.combinations(torch.arange(len(returns))).unbind(1)
    first, second = made.pairs.unbind(1)
    return {
        "counts": {
            "labels": len(labelled),
            "source_labels_used": used,
            "source_labels": there_are,
            "target_segments": len(returns),
            "rounds": len(made.rounds),
        },
        "accuracy": _accuracy(labelled.labels, returns[first], returns[second])
        if is_known
        else None,
        "accuracy_of_all": _accuracy(made.labels[row, column], returns[row], returns[column])
        if is_known
        else None,
        "confidence_histogram": confidence_histogram(made.labels[row, column]),
        "agreement_of_rounds": made.agreement,
        "rounds": [_describe_round(one) for one in made.rounds],
        "warnings": list(made.warnings),
    }


def _describe_round(made: Round) -> dict[str, Any]:
    coupling, orientation = made.coupling, made.orientation
    return {
        "cost": coupling.cost,
        "is_converged": coupling.is_converged,
        "marginal_error": coupling.marginal_error,
        "rivalry": orientation and orientation.rivalry,
        "similarity_to_rival": orientation and orientation.similarity,
    }


def _accuracy(
    labels: Float[Tensor, " pair"],
    return_0: Float[Tensor, " pair"],
    return_1: Float[Tensor, " pair"],
) -> float | None:
    decided = (return_0 != return_1) & (labels != TIE)
    if not bool(decided.any()):
        return None
    agrees = (labels > TIE) == (return_1 > return_0)
    return float(agrees[decided].to(torch.float64).mean())


def confidence_histogram(labels: Float[Tensor, " pair"]) -> Sequence[int]:
    """Return how many labels have a confidence |2 y - 1| in each tenth of [0, 1]."""
    confidence = (2 * labels.to(torch.float64) - 1).abs()
    counts: list[int] = torch.histc(confidence, HISTOGRAM_BINS, 0.0, 1.0).long().tolist()
    return counts
