"""Rewards of several seeds, fitted at once."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import accumulate

import torch

from pbrl.examples import joined_examples
from pbrl.fit_session import FitSession
from pbrl.graphs import Updates
from pbrl.randomness import SeedGenerators
from pbrl.reward_learning import RewardLearner
from pbrl.reward_steps import StepData, make_step
from pbrl.seeds import SeedStack
from pbrl.tally import Tally


def take_passes_together(
    learners: Sequence[RewardLearner],
    sessions: Sequence[FitSession],
    updates: Updates = "eager",
) -> None:
    """Take the passes of several fits; each comes to what it would come to alone.

    Those with as many examples and as many gradient steps behind them are computed at once, and a
    fit that is over leaves the others. Fits that learn more than the ensemble go one by one.

    Args:
        learners: one for each seed, of equal configuration.
        sessions: what each of them has begun.
        updates: how gradient steps are made, see `make_step`.
    """
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for row, (learner, session) in enumerate(zip(learners, sessions, strict=True)):
        groups[_kind(learner, session, row)].append(row)
    for rows in groups.values():
        left = rows
        while left:
            _take_passes([learners[row] for row in left], [sessions[row] for row in left], updates)
            left = [row for row in left if not sessions[row].is_over]


def _kind(learner: RewardLearner, session: FitSession, row: int) -> Hashable:
    """Return what fits must have in common to be computed at once; each its own where none can."""
    more = (learner.label_noise, learner.pseudo_labels, learner.hindsight, learner.codes)
    if any(part is not None for part in more) or not session.training.windows.are_kept:
        return row, None
    return len(session.training), learner.num_steps


def _take_passes(
    learners: Sequence[RewardLearner], sessions: Sequence[FitSession], updates: Updates
) -> None:
    """Take passes until one of the fits is over."""
    if len(learners) == 1:
        learners[0].take_passes(sessions[0], updates)
        return
    stack = SeedStack(learners)
    examples = joined_examples([session.training for session in sessions])
    generators = SeedGenerators(session.generator for session in sessions)
    step = make_step(stack.whole, StepData(examples, generators), updates)
    first_rows = [0, *accumulate(len(session.training) for session in sessions)]
    while not any(session.is_over for session in sessions):
        tally = Tally(examples.labels.device, len(sessions))
        for batches in zip(*(session.minibatches() for session in sessions), strict=True):
            rows = [batch + row for batch, row in zip(batches, first_rows, strict=False)]
            step(torch.stack(rows), tally)
        for session, part in zip(sessions, tally.unbind(), strict=True):
            session.took(part)
    stack.settle()
