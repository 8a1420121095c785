"""Training of the reward ensemble and relabelling, against a plain loop over its members."""

from collections.abc import Callable, Mapping
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


def training_contenders(
    num_pairs: int, length: int, passes: int
) -> dict[str, Callable[[int], None]]:
    """Return both ways to train on random labels."""
    replay = stored_episodes(10, max(200, length))
    generator = torch.Generator().manual_seed(0)
    index = replay.sample_segments(2 * num_pairs, length, generator).reshape(num_pairs, 2)
    labels = torch.randint(2, (num_pairs,), generator=generator).float()
    segments = replay.gather(index)
    inputs = torch.cat([segments.observations, segments.actions], -1)
    labelled = LabelledQueries(index, labels, torch.ones(num_pairs))
    # No accuracy is above 1, so every fit makes all its passes.
    config = RewardLearningConfig(batch_size=BATCH_SIZE, passes=passes, target_accuracy=1.0)
    learner = RewardLearner(config, _ensemble())

    def ours(repetitions: int) -> None:
        for _ in range(repetitions):
            learner.fit(labelled, replay, generator)

    members, optimizer = _members()

    def loop(repetitions: int) -> None:
        for _ in range(repetitions * passes):
            orders = [torch.randperm(num_pairs) for _ in members]
            for first in range(0, num_pairs, BATCH_SIZE):
                optimizer.zero_grad()
                loss = torch.zeros(())
                for member, order in zip(members, orders, strict=True):
                    batch = order[first : first + BATCH_SIZE]
                    returns = member(inputs[batch]).sum((2, 3))  # [pair, two]
                    loss = loss + F.cross_entropy(returns, labels[batch].long())
                loss.backward()
                optimizer.step()

    return {"loop over members": loop, "pbrl": ours}


def relabelling(rounds: int) -> list[Row]:
    """Time the pass that gives every stored step the mean reward of the ensemble."""
    ensemble = _ensemble()
    members, _ = _members()
    num_rows, width = STEPS_IN_CACHE, HIDDEN_SIZES[0]

    def relabel(replay: ReplayBuffer, reward: Callable[[Tensor, Tensor], Tensor]) -> Any:
        return lambda repetitions: [replay.relabel(reward) for _ in range(repetitions)]

    def loop(observations: Tensor, actions: Tensor) -> Tensor:
        inputs = torch.cat([observations, actions], -1)
        return torch.stack([member(inputs)[:, 0] for member in members]).mean(0)

    compared = stored_episodes(NUM_COMPARED // 1000)
    contenders = {
        "loop over members": relabel(compared, loop),
        "pbrl": relabel(compared, ensemble.mean_reward),
    }
    turns = min(rounds, HEAVY_ROUNDS)
    times = time_in_turns(contenders | products(num_rows, width), turns)
    reference = rates(times, num_rows, width)
    flops = NUM_MEMBERS * reward_flops(HIDDEN_SIZES, is_training=False)
    note = shares(NUM_COMPARED * flops / times["pbrl"].cpu, reference)
    rows = _rows("relabelling", f"{NUM_COMPARED:,} steps", times, note=note)
    everything = stored_episodes(NUM_RELABELLED // 1000)
    whole = timed(relabel(everything, ensemble.mean_reward), 1)
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


def _rows(section: str, case: str, times: Mapping[str, Times], **about_ours: Any) -> list[Row]:
    loop, ours = times["loop over members"], times["pbrl"]
    columns = {"section": section, "case": case}
    return [
        Row(**columns, contender="loop over members", **loop.columns(), ratio=1.0),
        Row(**columns, contender="pbrl", **ours.columns(), ratio=loop.cpu / ours.cpu, **about_ours),
    ]


def _ensemble() -> RewardEnsemble:
    config = RewardConfig(num_members=NUM_MEMBERS, hidden_sizes=HIDDEN_SIZES)
    generator = torch.Generator().manual_seed(0)
    return RewardEnsemble(config, OBSERVATION_DIM, ACTION_DIM, generator=generator)


def _members() -> tuple[list[nn.Sequential], torch.optim.Adam]:
    """Return plain networks of the same shape and one optimiser for all."""
    members = []
    for _ in range(NUM_MEMBERS):
        layers: list[nn.Module] = []
        size = OBSERVATION_DIM + ACTION_DIM
        for hidden in HIDDEN_SIZES:
            layers += [nn.Linear(size, hidden), nn.LeakyReLU()]
            size = hidden
        members.append(nn.Sequential(*layers, nn.Linear(size, 1), nn.Tanh()))
    parameters = [parameter for member in members for parameter in member.parameters()]
    return members, torch.optim.Adam(parameters, lr=3e-4)
