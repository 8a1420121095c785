"""How updates of offline agents are timed against those of the official programs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pbrl.pairs import OfflineBatch, PairBatch
from pbrl.replay import Batch
from pbrl.segments import Segments
from speed.measure import Row, moved, repeated, time_in_turns

LEAST_RATIO = 1.5
MOST_DIFFERENCE = 1e-5  # of the losses of one update, relative


@dataclass(frozen=True, kw_only=True)
class Size:
    """What one update sees.

    Attributes:
        name: of the case.
        observation_dim: size of an observation.
        action_dim: size of an action.
        pairs: labelled pairs.
        steps: of each segment.
        transitions: further steps of the dataset.
        hidden_sizes: of every network.
        dropout: of the policy.
        device: where both agents live.
    """

    name: str
    observation_dim: int = 35
    action_dim: int = 4
    pairs: int = 96
    steps: int = 64
    transitions: int = 0
    hidden_sizes: tuple[int, ...] = (512, 512)
    dropout: float = 0.25
    device: str = "cpu"

    def case(self) -> str:
        """Return the name with the numbers."""
        parts = [f"{len(self.hidden_sizes)}x{self.hidden_sizes[0]}"]
        if self.pairs:
            parts.append(f"{self.pairs} pairs of {self.steps}")
        if self.transitions:
            parts.append(f"{self.transitions} transitions")
        return f"{self.name}: {', '.join(parts)}"


@dataclass(frozen=True)
class Contest:
    """Two agents with equal parameters, one batch, and how to compare them.

    Attributes:
        agent: ours.
        batch: what ours learns from.
        step: takes one step of theirs on the same batch and returns its metrics; None without a
            checkout.
        compared: names of a loss in our metrics and in theirs.
    """

    agent: Any
    batch: OfflineBatch
    step: Callable[[], dict[str, float]] | None
    compared: dict[str, str]


Build = Callable[[Size, Path | None], Contest]
"""A contest of one size; without a checkout there is nobody to take their step."""


def updates(
    section: str, sizes: tuple[Size, ...], build: Build, checkout: Path | None, rounds: int
) -> list[Row]:
    """Time one update of ours and, where its checkout is given, of the official program."""
    rows = []
    for size in sizes:
        contest = build(size, checkout)
        contenders = {"pbrl": repeated(lambda c=contest: c.agent.update(c.batch))}
        columns = {"section": f"{section} update", "case": size.case()}
        if contest.step is None:
            times = time_in_turns(contenders, rounds)
            note = f"{1 / times['pbrl'].cpu:,.1f} updates/s"
            rows.append(Row(**columns, contender="pbrl", **times["pbrl"].columns(), note=note))
            continue
        difference = largest_difference(build(replace(size, dropout=0.0), checkout))
        times = time_in_turns({"official": repeated(contest.step)} | contenders, rounds)
        ratio = times["official"].cpu / times["pbrl"].cpu
        rows.append(Row(**columns, contender="official", **times["official"].columns(), ratio=1.0))
        rows.append(
            Row(
                **columns,
                contender="pbrl",
                **times["pbrl"].columns(),
                ratio=ratio,
                note=f"{1 / times['pbrl'].cpu:,.1f} updates/s, losses equal to {difference:.0e}",
                aim=f"{LEAST_RATIO}x official, losses equal to {MOST_DIFFERENCE:.0e}",
                is_met=ratio >= LEAST_RATIO and difference <= MOST_DIFFERENCE,
            )
        )
    return rows


def largest_difference(contest: Contest) -> float:
    """Return the largest relative difference between the losses of one update."""
    assert contest.step is not None  # the caller looked
    ours, theirs = contest.agent.update(contest.batch), contest.step()
    pairs = [(float(ours[one]), theirs[other]) for one, other in contest.compared.items()]
    return max(abs(one - other) / abs(other) for one, other in pairs)


def make_batch(size: Size) -> OfflineBatch:
    """Return random pairs and transitions."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(*shape, generator=generator) - 1

    pairs = transitions = None
    if size.pairs:
        shape = (size.pairs, 2, size.steps)
        segments = Segments(
            normal(*shape, size.observation_dim),
            uniform(*shape, size.action_dim),
            torch.ones(shape, dtype=torch.bool),
            torch.zeros(shape),
        )
        labels = torch.randint(2, (size.pairs,), generator=generator).float()
        pairs = PairBatch(segments, labels, torch.ones(size.pairs))
    if size.transitions:
        num = size.transitions
        transitions = Batch(
            normal(num, size.observation_dim),
            uniform(num, size.action_dim),
            normal(num),
            normal(num, size.observation_dim),
            torch.zeros(num),
        )
    batch: OfflineBatch = moved(OfflineBatch(pairs=pairs, transitions=transitions), size.device)
    return batch


def their_pairs(batch: OfflineBatch) -> dict[str, Tensor]:
    """Return pairs under the names of the official programs."""
    assert batch.pairs is not None
    segments, labels = batch.pairs.segments, batch.pairs.labels
    names = {"obs": segments.observations, "action": segments.actions}
    split = {
        f"{name}_{place + 1}": value[:, place].contiguous()
        for name, value in names.items()
        for place in range(2)
    }
    return split | {"label": labels, "discount": torch.full_like(labels, 0.99)}


def their_transitions(batch: OfflineBatch) -> dict[str, Tensor]:
    """Return transitions under the names of the official programs."""
    given = batch.transitions
    assert given is not None
    return {
        "obs": given.observations,
        "action": given.actions,
        "reward": given.rewards,
        "next_obs": given.next_observations,
        "discount": 0.99 * (1 - given.terminated),
    }
