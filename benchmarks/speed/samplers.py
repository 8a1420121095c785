"""Every named sampler on a large number of candidate pairs."""

import torch

from pbrl.queries import SAMPLERS, make_sampler
from pbrl.rewards import RewardConfig, RewardEnsemble
from speed.measure import ACTION_DIM, OBSERVATION_DIM, Row, stored_episodes, time_in_turns

NUM_EPISODES, NUM_CANDIDATES, NUM_PICKED, NUM_LABELLED = 100, 10_000, 1_000, 100
SECONDS_TO_SCORE, SECONDS_TO_SPREAD = 5.0, 30.0


def samplers(rounds: int) -> list[Row]:
    """Time 1,000 queries out of 10,000 candidates of 2 x 50 steps, 100 queries labelled before.

    Samplers without a choice to make draw all the candidates. The replay holds 100 episodes of
    1,000 steps, whose observations move slowly.
    """
    del rounds  # once each after a warm-up: seconds, against aims of seconds
    replay = stored_episodes(NUM_EPISODES)
    generator = torch.Generator().manual_seed(0)
    model = RewardEnsemble(RewardConfig(), OBSERVATION_DIM, ACTION_DIM, generator=generator)
    labelled = make_sampler("uniform")(replay, None, NUM_LABELLED, generator)
    rows = []
    for name, config in SAMPLERS.items():
        chooses = config.score is not None or config.k_center
        number = NUM_PICKED if chooses else NUM_CANDIDATES
        sampler = make_sampler(name, candidate_factor=NUM_CANDIDATES // NUM_PICKED)

        def run(repetitions: int, sampler=sampler, number=number) -> None:
            for _ in range(repetitions):
                sampler(replay, model, number, generator, labelled)

        (times,) = time_in_turns({name: run}, 1).values()
        limit = SECONDS_TO_SPREAD if config.k_center else SECONDS_TO_SCORE
        row = Row(
            section="sampler",
            case=f"{number:,} of {NUM_CANDIDATES:,} candidates",
            contender=name,
            **times.columns(),
            aim=f"under {limit:.0f} s",
            is_met=times.cpu < limit,
        )
        rows.append(row)
    return rows
