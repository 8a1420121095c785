"""Preferences spoilt on purpose, and preferences held out: once, before anything is learned."""

from dataclasses import replace

import torch

from pbrl.feedback import TIE, LabelledQueries
from pbrl.pairs import LabelledPairs, PreferenceData, ScoredSegments
from pbrl.training.config import Control

HELD_OUT_PAIRS = 1_000  # drawn from scored segments that are held out


def spoilt(
    preferences: PreferenceData, control: Control, generator: torch.Generator
) -> PreferenceData:
    """Return preferences that a method must fail on, unless it needs no labels.

    Args:
        preferences: labelled pairs or scored segments.
        control: "flipped-labels" turns every preference round; "shuffled-labels" gives every pair
            the label, or every segment the score, of another; "none" leaves them.
        generator: source of randomness.

    Raises:
        TypeError: if the preferences are of another kind.
    """
    if control == "none":
        return preferences
    if isinstance(preferences, LabelledPairs):
        labels = preferences.labelled.labels
        changed = 1 - labels if control == "flipped-labels" else _shuffled(labels, generator)
        return LabelledPairs(replace(preferences.labelled, labels=changed))
    if isinstance(preferences, ScoredSegments):
        scores = preferences.scores
        changed = -scores if control == "flipped-labels" else _shuffled(scores, generator)
        return ScoredSegments(preferences.segments, changed)
    raise TypeError(f"cannot spoil preferences of the type {type(preferences).__name__}")


def _shuffled(values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    order = torch.randperm(len(values), generator=generator, device=generator.device)
    return values[order.to(values.device)]


def hold_out(
    preferences: PreferenceData, share: float, generator: torch.Generator
) -> tuple[PreferenceData, LabelledQueries | None]:
    """Return preferences to learn from and pairs to judge by; None with a share of 0.

    Of labelled pairs a share of the pairs is held out, wherever else their segments take part; of
    scored segments a share of the segments, from which pairs are drawn.

    Args:
        preferences: labelled pairs or scored segments.
        share: in [0, 1).
        generator: source of randomness.

    Raises:
        ValueError: if too few preferences would be left on one side, or those held out are ties.
        TypeError: if the preferences are of another kind.
    """
    if share == 0:
        return preferences, None
    if not isinstance(preferences, LabelledPairs | ScoredSegments):
        raise TypeError(f"cannot hold out preferences of the type {type(preferences).__name__}")
    order = torch.randperm(len(preferences), generator=generator, device=generator.device)
    order = order.to(preferences.segments.episode.device)
    number = round(share * len(preferences))
    test, training = order[:number].sort().values, order[number:].sort().values
    fewest = 2 if isinstance(preferences, ScoredSegments) else 1
    if min(len(test), len(training)) < fewest:
        raise ValueError(
            f"held_out_share {share} of {len(preferences)} preferences leaves too few on one side"
        )
    kept: PreferenceData
    if isinstance(preferences, ScoredSegments):
        judges = ScoredSegments(preferences.segments[test], preferences.scores[test])
        kept = ScoredSegments(preferences.segments[training], preferences.scores[training])
        held_out = judges.draw(HELD_OUT_PAIRS, generator)
    else:
        labelled = preferences.labelled
        kept, held_out = LabelledPairs(_rows(labelled, training)), _rows(labelled, test)
    if bool((held_out.labels == TIE).all()):
        raise ValueError(
            f"the labels that held_out_share {share} of {len(preferences)} preferences holds out "
            "are all ties, which cannot be judged by: hold out more, or none"
        )
    return kept, held_out


def _rows(labelled: LabelledQueries, rows: torch.Tensor) -> LabelledQueries:
    return LabelledQueries(labelled.index[rows], labelled.labels[rows], labelled.weights[rows])
