"""Labels for a task that has none, from those of another: PEARL's cross-task alignment.

Liu et al. 2024 (ICML, arXiv 2306.03615). Its full text could not be read: the ground distance, the
numbers, and how k-means splits the segments are not known here, and the last is left out.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pbrl.checks import check_fields
from pbrl.feedback import TIE, LabelledQueries
from pbrl.offline.transfer.features import (
    Anchor,
    TaskSegments,
    anchor_cost,
    flat_features,
    read_segments,
    tells_apart,
)
from pbrl.offline.transfer.labels import carried_labels, label_matrix
from pbrl.offline.transfer.orientation import (
    Orientation,
    judge,
    oriented_coupling,
    uninformed_cost_of,
)
from pbrl.offline.transfer.source import (
    SourceDraw,
    check_prefers,
    draw_source,
    number_used,
    rounds_for,
)
from pbrl.offline.transfer.transport import (
    SMALL_MASS_ERROR,
    Coupling,
    TransportConfig,
    normalized_distances,
)
from pbrl.pairs import PreferenceData
from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex

NOTHING = 1e-3  # a plan that brings no label further than this from one half tells nothing
CONTRARY = (
    0.0  # rounds whose labels correlate by less than this with the others' speak against them
)


class AmbiguousAlignmentError(ValueError):
    """An alignment may be mirrored, and then every label inverted."""


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """How labels get from one task to another; the numbers are ours.

    Attributes:
        segments: segments of a task per alignment, at least 2; of the source fewer if it has fewer.
        rounds: alignments of the same target segments with other source segments, whose labels are
            averaged; at least 1. None makes as many as take about all labels of the source, 64 at
            most.
        pairs: labels to write, at least 1; fewer if fewer are decided.
        length: steps of a target segment; as many as the source's when None.
        min_confidence: pairs whose label is nearer to one half are left out, in [0, 0.5).
        metric: distance between segments of a task, by their standardised observations and actions.
        anchor: what is taken to go the same way in both tasks, see `anchor_cost`. With "none", the
            published method, distances alone decide, and they do not know a set from its mirror
            image: of 60 toy alignments (`benchmarks/mirror_toy.py`) 21 were inverted, with
            "progress" none. On six Meta-World datasets of experts with noise (500 segments of 50
            steps each) the rank correlation with the true return was 0.33 to 0.90 for "progress",
            0.38 to 0.81 for "time" and -0.05 to 0.38 for "path-length"; policies learned from
            labels by "time", which say that later is better, fail (docs/credit-and-transfer.md).
        max_rivalry: an alignment is ambiguous if a contrary one is this good, in [0, 1]. In that
            toy the inverted ones had 0.72 to 1.
        ambiguous: whether such an alignment is refused or warned of.
        transport: the solver.
    """

    segments: int = 64
    rounds: int | None = None
    pairs: int = 500
    length: int | None = None
    min_confidence: float = 0.05
    metric: Literal["euclidean", "cosine"] = "euclidean"
    anchor: Anchor = "progress"
    max_rivalry: float = 0.7
    ambiguous: Literal["refuse", "warn"] = "refuse"
    transport: TransportConfig = field(default_factory=TransportConfig)

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("segments", "at least 2", self.segments >= 2),  # noqa: PLR2004
            ("rounds", "at least 1 or None", self.rounds is None or self.rounds >= 1),
            ("pairs", "at least 1", self.pairs >= 1),
            ("length", "at least 1 or None", self.length is None or self.length >= 1),
            ("min_confidence", "in [0, 0.5)", 0 <= self.min_confidence < TIE),
            ("max_rivalry", "in [0, 1]", 0 <= self.max_rivalry <= 1),
        )


class Round(NamedTuple):
    """One alignment: the plan, how it lies, and the labels it brings.

    Attributes:
        coupling: the plan.
        orientation: how it lies; None where the other way round could not be searched.
        labels: of all pairs of target segments.
        support: of each, see `Carried`.
        is_anchored: whether the anchor told segments apart, if there is one.
    """

    coupling: Coupling
    orientation: Orientation | None
    labels: Float[Tensor, "target target"]
    support: Float[Tensor, "target target"]
    is_anchored: bool = True

    @property
    def is_telling(self) -> bool:
        """Whether a label is further than `NOTHING` from one half."""
        return float((self.labels - TIE).abs().max()) >= NOTHING


@dataclass(frozen=True)
class Transferred:
    """Labels of a target task.

    Attributes:
        segments: of the target that were aligned, `[target]`.
        labels: P(column preferred to row) of every two of them.
        pairs: the pairs to learn from, by row of `segments`.
        rounds: the alignments.
        agreement: mean correlation of the labels of two rounds; None for a single one.
        warnings: what is doubtful about them.
        used: how many of the source's labels or scores took part, and how many there are; None
            where the source draws them itself.
    """

    segments: SegmentIndex
    labels: Float[Tensor, "target target"]
    pairs: Int[Tensor, "pair two"]
    rounds: tuple[Round, ...]
    agreement: float | None
    warnings: tuple[str, ...]
    used: tuple[int, int] | None

    def labelled(self) -> LabelledQueries:
        """Return the pairs to learn from, with soft labels."""
        labels = self.labels[self.pairs[:, 0], self.pairs[:, 1]].to(torch.float32)
        return LabelledQueries(self.segments[self.pairs], labels, torch.ones_like(labels))


def transfer_labels(
    source: ReplayBuffer,
    preferences: PreferenceData,
    target: ReplayBuffer,
    config: TransferConfig,
    generator: torch.Generator,
) -> Transferred:
    """Return labels for segments of a target task that correspond to labelled ones of a source.

    The tasks may differ in the sizes of observations and actions.

    Args:
        source: where the labelled segments lie.
        preferences: the labels.
        target: episodes without labels.
        config: how.
        generator: draws segments and pairs, on the CPU.

    Raises:
        AmbiguousAlignmentError: if an alignment may be mirrored, unless that is only warned of.
        ValueError: if all source labels are ties, segments differ in length or not at all, or the
            plans tell nothing.
    """
    check_prefers(preferences)
    length = config.length or int(preferences.segments.length[0])
    chosen = target.sample_segments(config.segments, length, generator)
    aligned = read_segments(target, chosen, "target")
    distances = normalized_distances(flat_features(aligned.segments), config.metric, "target")
    draws = [
        draw_source(preferences, config.segments, generator)
        for _ in range(config.rounds or rounds_for(preferences, config.segments))
    ]
    decided = [draw for draw in draws if draw.is_decided]
    if not decided:
        raise ValueError(
            f"all labels of the source that were drawn in {len(draws)} rounds are ties: they "
            "prefer nothing to carry over; ask for more rounds"
        )
    rounds = tuple(_align(source, draw, aligned, distances, config) for draw in decided)
    telling = tuple(one for one in rounds if one.is_telling)
    if not telling:
        raise ValueError(
            "the alignment tells nothing: every label it brings is one half. Lower "
            "transport.epsilon, align more segments, or check that the source's differ"
        )
    support = torch.stack([one.support for one in telling])
    labels = (torch.stack([one.labels for one in telling]) - TIE) * support
    mean = TIE + labels.sum(0) / support.sum(0).clamp(min=torch.finfo(support.dtype).tiny)
    agreement = _agreement(telling)
    doubts = (
        _left_out(len(draws), len(decided), len(telling))
        + _doubts(rounds, config)
        + _doubtful_orientation(telling, agreement, config)
    )
    chosen = chosen.to("cpu")
    pairs = _choose(chosen, mean, support.mean(0), config, generator)
    used = number_used(preferences, draws)
    return Transferred(chosen, mean, pairs, rounds, agreement, tuple(doubts), used)


def _left_out(drawn: int, decided: int, telling: int) -> list[str]:
    """Return which alignments brought no label, and why."""
    doubts = []
    if decided < drawn:
        doubts.append(
            f"{drawn - decided} of {drawn} alignments were left out: all their labels tie"
        )
    if telling < decided:
        doubts.append(
            f"{decided - telling} of {drawn} alignments were left out: every label that they bring "
            "is one half"
        )
    return doubts


def _align(
    source: ReplayBuffer,
    drawn: SourceDraw,
    target: TaskSegments,
    target_distances: Tensor,
    config: TransferConfig,
) -> Round:
    segments = read_segments(source, drawn.segments, "source")
    distances = normalized_distances(flat_features(segments.segments), config.metric, "source")
    anchor = anchor_cost(segments, target, config.anchor)
    chosen, other = oriented_coupling(distances, target_distances, config.transport, anchor)
    matrix, known = label_matrix(len(distances), drawn.pairs, drawn.labels)
    carried = carried_labels(chosen.plan, matrix, known)
    orientation = None
    if other is not None:
        contrary = carried_labels(other.plan, matrix, known)
        uninformed = uninformed_cost_of(distances, target_distances, config.transport, anchor)
        orientation = judge(chosen, other, (carried.labels, contrary.labels), uninformed)
    is_anchored = anchor is None or tells_apart(anchor)
    return Round(chosen, orientation, carried.labels, carried.support, is_anchored)


def _agreement(rounds: tuple[Round, ...]) -> float | None:
    """Return the mean correlation of the labels of two rounds."""
    if len(rounds) == 1:
        return None
    spread = torch.stack([(one.labels - TIE).flatten() for one in rounds])
    lengths = spread.norm(dim=1, keepdim=True)
    unit = spread / lengths.clamp(min=torch.finfo(spread.dtype).tiny)
    among = unit @ unit.T
    number = len(rounds)
    return float((among.sum() - among.diagonal().sum()) / (number * (number - 1)))


def _doubts(rounds: tuple[Round, ...], config: TransferConfig) -> list[str]:
    """Return what is doubtful of alignments, whichever way round they lie."""
    number = len(rounds)
    doubts = []
    unfinished = sum(not one.coupling.is_converged for one in rounds)
    if unfinished:
        doubts.append(
            f"{unfinished} of {number} alignments had not converged after "
            f"{config.transport.max_iterations} iterations"
        )
    error = max(one.coupling.marginal_error for one in rounds)
    if error > SMALL_MASS_ERROR:
        doubts.append(f"the plans leave masses off by up to {error:.1%}")
    unsearched = sum(one.orientation is None for one in rounds)
    if unsearched:
        doubts.append(
            f"{unsearched} of {number} alignments could not be searched the other way round: "
            "whether these are inverted is not known"
        )
    silent = sum(not one.is_anchored for one in rounds)
    if silent:
        doubts.append(
            f"the anchor {config.anchor} tells nothing in {silent} of {number} alignments, as all "
            "segments of a task are alike in it: distances alone decided"
        )
    return doubts


def _doubtful_orientation(
    rounds: tuple[Round, ...], agreement: float | None, config: TransferConfig
) -> list[str]:
    """Return why the labels may all be inverted, and refuse that unless it is allowed.

    Raises:
        AmbiguousAlignmentError: see `TransferConfig.ambiguous`.
    """
    number = len(rounds)
    known = [one.orientation for one in rounds if one.orientation is not None]
    mirrored = sum(one.is_ambiguous(config.max_rivalry) for one in known)
    is_contrary = agreement is not None and agreement < CONTRARY
    if not mirrored and not is_contrary:
        return []
    reason = (
        f"{mirrored} of {number} alignments have a contrary one nearly as good"
        if mirrored
        else f"the labels of the {number} alignments contradict each other ({agreement:+.2f})"
    )
    if config.ambiguous == "refuse":
        raise AmbiguousAlignmentError(
            f"{reason}: the labels may all be inverted. Name what goes the same way in both tasks "
            "with anchor, give it more weight with transport.anchor_weight, or take the labels all "
            "the same with ambiguous warn"
        )
    return [f"{reason}: the labels may all be inverted"]


def _choose(
    segments: SegmentIndex,
    labels: Tensor,
    support: Tensor,
    config: TransferConfig,
    generator: torch.Generator,
) -> Int[Tensor, "pair two"]:
    """Return decided pairs, drawn by how much of their correspondence has a label.

    A segment that was drawn twice makes no pair with itself.

    Raises:
        ValueError: if no pair is decided.
    """
    pairs = torch.combinations(torch.arange(len(labels)))
    episode, start = segments.episode[pairs], segments.start[pairs]
    pairs = pairs[(episode[:, 0] != episode[:, 1]) | (start[:, 0] != start[:, 1])]
    row, column = pairs.unbind(1)
    confidence = (labels[row, column] - TIE).abs()
    decided = pairs[confidence >= config.min_confidence]
    if len(decided) == 0:
        raise ValueError(
            f"no label is further than min_confidence {config.min_confidence} from one half; the "
            f"furthest is off by {float(confidence.max()):.3f}: lower it, or transport.epsilon"
        )
    weights = support[decided[:, 0], decided[:, 1]].clamp(min=torch.finfo(support.dtype).tiny)
    number = min(config.pairs, len(decided))
    rows = torch.multinomial(weights, number, generator=generator)
    chosen: Tensor = decided[rows]
    turned = torch.rand(number, generator=generator) < TIE  # the order of a pair tells nothing
    return torch.where(turned[:, None], chosen.flip(1), chosen)
