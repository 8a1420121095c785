"""Training of the reward ensemble and relabelling, against a plain loop over its members."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pbrl.feedback import LabelledQueries
from pbrl.replay import ReplayBuffer
from pbrl.reward_learning import RewardLearner, RewardLearningConfig
from pbrl.rewards import STEPS_IN_CACHE, RewardConfig, RewardEnsemble
from speed.measure import (
    ACTION_DIM,
    OBSERVATION_DIM,
    Row,
    Times,
    product_rows,
    products,
    rates,
    repeated,
    reward_flops,
    shares,
    stored_episodes,
    time_in_turns,
    timed,
)

NUM_MEMBERS, HIDDEN_SIZES, BATCH_SIZE = 3, (256, 256, 256), 128
# Pairs, steps of a segment, and passes per repetition.
TRAINING = ((1_000, 50, 1), (10, 50, 10), (1, 50, 50), (10, 1, 50))
NUM_FULL = 1_000  # pairs from which the aim is a share of the matmul rate
LEAST_SHARE, LEAST_RATIO, MOST_SECONDS = 0.85, 2.0, 10.0
NUM_RELABELLED, NUM_COMPARED = 1_000_000, 100_000  # steps
HEAVY_ROUNDS = 3


def ensemble_training(rounds: int) -> list[Row]:
    """Time passes over labelled pairs: one batched pass against one network after the other.

    Ours is a whole `fit`, which gathers the segments first; the loop finds them gathered.
    """
    num_rows, width = STEPS_IN_CACHE, HIDDEN_SIZES[0]
    rows = []
    for num_pairs, length, passes in TRAINING:
        contenders = training_contenders(num_pairs, length, passes)
        is_full = num_pairs >= NUM_FULL
        turns = min(rounds, HEAVY_ROUNDS) if is_full else rounds
        times = time_in_turns(contenders | products(num_rows, width), turns)
        reference = rates(times, num_rows, width)
        steps = num_pairs * 2 * length * passes * NUM_MEMBERS
        rate = steps * reward_flops(HIDDEN_SIZES, is_training=True) / times["pbrl"].cpu
        case = f"{num_pairs} pairs of {length}, {passes} passes"
        ratio = times["loop over members"].cpu / times["pbrl"].cpu
        aim: dict[str, Any]
        if is_full:
            is_met = rate >= LEAST_SHARE * max(reference.values())
            aim = {"aim": f"{LEAST_SHARE:.0%} of the fastest product", "is_met": is_met}
            size = f"{num_rows} rows by {width}x{width}"
            rows.extend(product_rows("float32 product", size, times, reference))
        else:
            aim = {"aim": f"{LEAST_RATIO:.0f}x the loop", "is_met": ratio >= LEAST_RATIO}
        rows.extend(_rows("ensemble training", case, times, note=shares(rate, reference), **aim))
    return rows


@dataclass(frozen=True)
class Labelled:
    """Labelled pairs of random segments.

    Attributes:
        replay: where they lie.
        queries: the pairs with their labels.
        inputs: observations and actions side by side, `[query, two, time, feature]`.
    """

    replay: ReplayBuffer
    queries: LabelledQueries
    inputs: Tensor

    @classmethod
    def make(cls, num_pairs: int, length: int, generator: torch.Generator) -> "Labelled":
        """Return pairs drawn on the generator's device."""
        device = generator.device
        replay = stored_episodes(10, max(200, length), str(device))
        index = replay.sample_segments(2 * num_pairs, length, generator).reshape(num_pairs, 2)
        labels = torch.randint(2, (num_pairs,), generator=generator, device=device).float()
        segments = replay.gather(index)
        inputs = torch.cat([segments.observations, segments.actions], -1)
        queries = LabelledQueries(index, labels, torch.ones(num_pairs, device=device))
        return cls(replay, queries, inputs)


def training_contenders(
    num_pairs: int, length: int, passes: int, device: str = "cpu"
) -> dict[str, Callable[[int], None]]:
    """Return both ways to train on random labels."""
    generator = torch.Generator(device).manual_seed(0)
    labelled = Labelled.make(num_pairs, length, generator)
    learner = make_learner(passes, generator)
    return {
        "loop over members": train_in_a_loop(labelled, passes),
        "pbrl": repeated(lambda: learner.fit(labelled.queries, labelled.replay, generator)),
    }


def make_learner(passes: int, generator: torch.Generator) -> RewardLearner:
    """Return ours, which makes all its passes: no accuracy is above 1."""
    config = RewardLearningConfig(batch_size=BATCH_SIZE, passes=passes, target_accuracy=1.0)
    return RewardLearner(config, make_ensemble(str(generator.device)))


def train_in_a_loop(labelled: Labelled, passes: int) -> Callable[[int], None]:
    """Return passes of plain networks, one after the other."""
    inputs, labels = labelled.inputs, labelled.queries.labels
    members, optimizer = make_members(str(inputs.device))

    def run(repetitions: int) -> None:
        for _ in range(repetitions * passes):
            orders = [torch.randperm(len(inputs), device=inputs.device) for _ in members]
            for first in range(0, len(inputs), BATCH_SIZE):
                optimizer.zero_grad()
                loss = torch.zeros((), device=inputs.device)
                for member, order in zip(members, orders, strict=True):
                    batch = order[first : first + BATCH_SIZE]
                    returns = member(inputs[batch]).sum((2, 3))  # [pair, two]
                    loss = loss + F.cross_entropy(returns, labels[batch].long())
                loss.backward()
                optimizer.step()

    return run


def relabelling(rounds: int) -> list[Row]:
    """Time the pass that gives every stored step the mean reward of the ensemble."""
    ensemble = make_ensemble()
    num_rows, width = STEPS_IN_CACHE, HIDDEN_SIZES[0]
    compared = stored_episodes(NUM_COMPARED // 1000)
    mean_in_a_loop = reward_in_a_loop()
    contenders = {
        "loop over members": repeated(lambda: compared.relabel(mean_in_a_loop)),
        "pbrl": repeated(lambda: compared.relabel(ensemble.mean_reward)),
    }
    turns = min(rounds, HEAVY_ROUNDS)
    times = time_in_turns(contenders | products(num_rows, width), turns)
    reference = rates(times, num_rows, width)
    flops = NUM_MEMBERS * reward_flops(HIDDEN_SIZES, is_training=False)
    note = shares(NUM_COMPARED * flops / times["pbrl"].cpu, reference)
    rows = _rows("relabelling", f"{NUM_COMPARED:,} steps", times, note=note)
    everything = stored_episodes(NUM_RELABELLED // 1000)
    whole = timed(repeated(lambda: everything.relabel(ensemble.mean_reward)), 1)
    row = Row(
        section="relabelling",
        case=f"{NUM_RELABELLED:,} steps",
        contender="pbrl",
        **whole.columns(),
        note=shares(NUM_RELABELLED * flops / whole.cpu, reference),
        aim=f"under {MOST_SECONDS:.0f} s",
        is_met=whole.cpu < MOST_SECONDS,
    )
    return [*rows, row]


def reward_in_a_loop(device: str = "cpu") -> Callable[[Tensor, Tensor], Tensor]:
    """Return the mean reward of plain networks, one after the other."""
    members, _ = make_members(device)

    def mean_reward(observations: Tensor, actions: Tensor) -> Tensor:
        inputs = torch.cat([observations, actions], -1)
        return torch.stack([member(inputs)[:, 0] for member in members]).mean(0)

    return mean_reward


def _rows(section: str, case: str, times: Mapping[str, Times], **about_ours: Any) -> list[Row]:
    loop, ours = times["loop over members"], times["pbrl"]
    columns = {"section": section, "case": case}
    return [
        Row(**columns, contender="loop over members", **loop.columns(), ratio=1.0),
        Row(**columns, contender="pbrl", **ours.columns(), ratio=loop.cpu / ours.cpu, **about_ours),
    ]


def make_ensemble(device: str = "cpu", num_members: int = NUM_MEMBERS) -> RewardEnsemble:
    """Return ours."""
    config = RewardConfig(num_members=num_members, hidden_sizes=HIDDEN_SIZES)
    generator = torch.Generator(device).manual_seed(0)
    return RewardEnsemble(config, OBSERVATION_DIM, ACTION_DIM, generator=generator)


def make_members(device: str = "cpu") -> tuple[list[nn.Sequential], torch.optim.Adam]:
    """Return plain networks of the same shape and one optimiser for all."""
    members = []
    for _ in range(NUM_MEMBERS):
        layers: list[nn.Module] = []
        size = OBSERVATION_DIM + ACTION_DIM
        for hidden in HIDDEN_SIZES:
            layers += [nn.Linear(size, hidden), nn.LeakyReLU()]
            size = hidden
        members.append(nn.Sequential(*layers, nn.Linear(size, 1), nn.Tanh()).to(device))
    parameters = [parameter for member in members for parameter in member.parameters()]
    return members, torch.optim.Adam(parameters, lr=3e-4)
