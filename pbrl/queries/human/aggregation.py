"""One label out of several people's: by majority, or weighing people by how reliable they are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

MAX_STEPS = 200
TOLERANCE = 1e-8
SMOOTHING = 0.01


@dataclass(frozen=True, kw_only=True)
class Votes:
    """Who gave what, one row per answer; "can't tell" is no vote.

    Attributes:
        items: what was asked, numbered from 0.
        annotators: who answered, numbered from 0.
        classes: the answer, numbered from 0.
        num_items: how many were asked.
        num_annotators: how many people there are.
        num_classes: how many answers there are to choose from.
    """

    items: Int[np.ndarray, " vote"]
    annotators: Int[np.ndarray, " vote"]
    classes: Int[np.ndarray, " vote"]
    num_items: int
    num_annotators: int
    num_classes: int

    def __post_init__(self) -> None:
        for name, limit in (
            ("items", self.num_items),
            ("annotators", self.num_annotators),
            ("classes", self.num_classes),
        ):
            numbers = getattr(self, name)
            if len(numbers) != len(self.items):
                raise ValueError(f"expected {len(self.items)} {name}, got {len(numbers)}")
            if len(numbers) and not 0 <= numbers.min() <= numbers.max() < limit:
                raise ValueError(
                    f"{name} must lie in 0 to {limit - 1}, got {numbers.min()} to {numbers.max()}"
                )

    def counts(self) -> Float[np.ndarray, "item cls"]:
        """Return how many chose each class of each item."""
        counts = np.zeros((self.num_items, self.num_classes))
        np.add.at(counts, (self.items, self.classes), 1.0)
        return counts


@dataclass(frozen=True, kw_only=True)
class DawidSkene:
    """What Dawid and Skene's model makes of votes.

    Attributes:
        posterior: probability of each item's true class, given the votes.
        confusion: probability that an annotator answers (last axis) to a true class (middle axis).
        prior: share of each true class.
    """

    posterior: Float[np.ndarray, "item cls"]
    confusion: Float[np.ndarray, "annotator cls cls"]
    prior: Float[np.ndarray, " cls"]

    def accuracy(self) -> Float[np.ndarray, " annotator"]:
        """Return how often each annotator is right, by the model's own belief."""
        accuracy: np.ndarray = np.einsum("c,acc->a", self.prior, self.confusion)
        return accuracy

    def reliability(self) -> Float[np.ndarray, " annotator"]:
        """Return a weight for each annotator: 1 for who is always right, 0 for a coin or worse.

        The mean over true classes of the chance to be right, of which what blind guessing would
        get, 1 / classes, counts as 0. Somebody who always gives the same answer has 0 too.
        """
        hits = np.einsum("acc->a", self.confusion)
        chances = self.confusion.shape[-1] - 1.0
        return np.asarray(np.clip((hits - 1.0) / chances, 0.0, 1.0))


def majority(votes: Votes) -> Float[np.ndarray, "item cls"]:
    """Return a distribution for each item: all on the class with most votes, shared by ties.

    An item without votes has NaN.
    """
    counts = votes.counts()
    wins = (counts == counts.max(-1, keepdims=True)).astype(float)
    wins /= wins.sum(-1, keepdims=True)
    return np.asarray(np.where(counts.sum(-1, keepdims=True) == 0, np.nan, wins))


def dawid_skene(
    votes: Votes, *, max_steps: int = MAX_STEPS, smoothing: float = SMOOTHING
) -> DawidSkene:
    """Estimate the true classes and everybody's confusions by expectation maximisation.

    Dawid and Skene 1979, equations 2.3 to 2.5, started from the shares of votes as they propose.
    They have no smoothing: `smoothing` counts are added to every cell of a confusion, so that an
    annotator with few answers is never certain.

    Args:
        votes: who gave what.
        max_steps: steps at most; it stops earlier when no probability moves by 1e-8.
        smoothing: pseudo-count of each cell, not negative.

    Returns:
        The estimates; an item without votes has the prior as its posterior.
    """
    counts = votes.counts()
    totals = counts.sum(-1, keepdims=True)
    uniform = np.full_like(counts, 1.0 / votes.num_classes)
    posterior = np.divide(counts, totals, out=uniform, where=totals > 0)
    voted = totals[:, 0] > 0
    for _ in range(max_steps):
        confusion, prior = _maximise(votes, posterior, voted, smoothing)
        updated = _expect(votes, confusion, prior)
        moved = np.abs(updated - posterior).max(initial=0.0)
        posterior = updated
        if moved < TOLERANCE:
            break
    confusion, prior = _maximise(votes, posterior, voted, smoothing)
    return DawidSkene(posterior=posterior, confusion=confusion, prior=prior)


def _maximise(
    votes: Votes,
    posterior: Float[np.ndarray, "item cls"],
    voted: np.ndarray,
    smoothing: float,
) -> tuple[np.ndarray, np.ndarray]:
    size = votes.num_classes
    confusion = np.full((votes.num_annotators, size, size), smoothing)
    # Every vote adds its item's posterior to the column of the class voted for.
    columns: Any = (votes.annotators, slice(None), votes.classes)
    np.add.at(confusion, columns, posterior[votes.items])
    sums = confusion.sum(-1, keepdims=True)
    confusion = np.divide(confusion, sums, out=np.full_like(confusion, 1.0 / size), where=sums > 0)
    # Items that nobody voted on say nothing about how frequent a class is.
    prior = posterior[voted].mean(0) if voted.any() else np.full(size, 1.0 / size)
    return confusion, prior


def _expect(votes: Votes, confusion: np.ndarray, prior: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        log_confusion, log_prior = np.log(confusion), np.log(prior)
    log_posterior = np.tile(log_prior, (votes.num_items, 1))
    np.add.at(log_posterior, votes.items, log_confusion[votes.annotators, :, votes.classes])
    log_posterior -= log_posterior.max(-1, keepdims=True)
    posterior = np.exp(log_posterior)
    result: np.ndarray = posterior / posterior.sum(-1, keepdims=True)
    return result
