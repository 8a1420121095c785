"""Costs of Hindsight PRIOR beside the learning it joins, and of aligning two tasks."""

from collections.abc import Callable
from dataclasses import replace

import torch

from pbrl.agents.sac import SAC
from pbrl.feedback import LabelledQueries
from pbrl.offline.transfer.orientation import oriented_coupling
from pbrl.offline.transfer.transport import TransportConfig, normalized_distances
from pbrl.queries.schedules import FeedbackSchedule
from pbrl.reward_learning import RewardLearner
from pbrl.rewards import RewardEnsemble
from pbrl.training.config import PreferenceConfig, TrainConfig
from pbrl.training.presets import make_config
from speed.measure import ACTION_DIM, OBSERVATION_DIM, Row, stored_episodes, time_in_turns, timed

ENV = "dmc/walker-walk"
ALIGNED = (64, 256, 1_000)  # segments of each task
JUDGED, MOST_SECONDS = 256, 10.0
FEATURES = 50 * (OBSERVATION_DIM + ACTION_DIM)  # of a segment of 50 steps
MOST_ADDED = 0.5  # of an online run's processor time


def alignment(rounds: int) -> list[Row]:
    """Time one alignment with its mirror image, of segments that differ in their progress."""
    del rounds  # the largest takes as long as all turns of the others
    rows = []
    for number in ALIGNED:
        draws = torch.Generator().manual_seed(0)
        tasks = [_segments(number, draws) for _ in range(2)]
        anchor = (torch.linspace(0, 1, number)[:, None] - torch.linspace(0, 1, number)).square()

        def align(_: int, tasks: list[torch.Tensor] = tasks, anchor: torch.Tensor = anchor) -> None:
            oriented_coupling(*map(normalized_distances, tasks), TransportConfig(), anchor.double())

        if number == min(ALIGNED):
            align(1)  # imports the solver
        times = timed(align, 1)
        is_judged = number == JUDGED
        rows.append(
            Row(
                section="alignment",
                case=f"{number} x {number} segments",
                contender="pbrl",
                **times.columns(),
                aim=f"under {MOST_SECONDS:.0f} s" if is_judged else "",
                is_met=times.cpu < MOST_SECONDS if is_judged else None,
            )
        )
    return rows


def _segments(number: int, draws: torch.Generator) -> torch.Tensor:
    progress = torch.rand(number, generator=draws).sort().values
    direction = torch.randn(FEATURES, generator=draws)
    noise = torch.randn(number, FEATURES, generator=draws)
    return progress[:, None] * direction + 0.1 * noise


def hindsight(rounds: int) -> list[Row]:
    """Time what the prior adds to an online run of the cpu preset, update by update."""
    config = make_config(ENV, "hindsight-prior")
    preferences = config.preferences
    assert preferences is not None
    assert preferences.learning.hindsight is not None
    replay = stored_episodes(20)
    draws = torch.Generator().manual_seed(0)
    budget, length = preferences.schedule.budget, preferences.sampler.segment_length
    index = replay.sample_segments(2 * budget, length, draws).reshape(budget, 2)
    labels = torch.randint(2, (budget,), generator=draws).float()
    labelled = LabelledQueries(index, labels, torch.ones(budget))
    plain, prior = (
        _learner(replace(preferences, learning=learning))
        for learning in (replace(preferences.learning, hindsight=None), preferences.learning)
    )
    assert prior.hindsight is not None
    world = prior.hindsight.world
    agent = SAC(config.sac, OBSERVATION_DIM, ACTION_DIM, generator=draws)
    world.count_due(replay)

    def learn_world(repetitions: int) -> None:
        world.num_due = repetitions
        world.fit(replay, length)

    def fit(learner: RewardLearner) -> Callable[[int], None]:
        def run(repetitions: int) -> None:
            learner.fit(labelled, replay, draws, max_steps=repetitions)

        return run

    def act(repetitions: int) -> None:
        for _ in range(repetitions):
            agent.update(replay.sample(config.batch_size, draws))

    learn_world(1)
    times = time_in_turns(
        {
            "SAC update": act,
            "reward step": fit(plain),
            "reward step with the prior": fit(prior),
            "world model update": learn_world,
        },
        rounds,
    )
    each = {name: found.cpu for name, found in times.items()}
    added = added_share(config, preferences, each)
    return [
        Row(
            section="Hindsight PRIOR",
            case=f"cpu preset, {ENV}",
            contender=name,
            **found.columns(),
            **(
                {
                    "note": f"adds {added:.0%} to a run",
                    "aim": f"under {MOST_ADDED:.0%}",
                    "is_met": added < MOST_ADDED,
                }
                if name == "world model update"
                else {}
            ),
        )
        for name, found in times.items()
    ]


def added_share(
    config: TrainConfig, preferences: PreferenceConfig, seconds: dict[str, float]
) -> float:
    """Return the time that the prior adds to all updates of a run, as a share of it without."""
    sessions = FeedbackSchedule(preferences.schedule).plan()
    assert preferences.learning.hindsight is not None
    world = preferences.learning.hindsight.world
    steps = asked = 0
    for session in sessions:
        asked += session.size
        steps += preferences.learning.num_steps(asked)
    updates = world.initial_updates + (len(sessions) - 1) * world.session_updates
    without = config.steps * config.updates_per_step * seconds["SAC update"]
    without += steps * seconds["reward step"]
    added = updates * seconds["world model update"]
    added += steps * (seconds["reward step with the prior"] - seconds["reward step"])
    return added / without


def _learner(preferences: PreferenceConfig) -> RewardLearner:
    draws = torch.Generator().manual_seed(0)
    ensemble = RewardEnsemble(preferences.reward, OBSERVATION_DIM, ACTION_DIM, generator=draws)
    return RewardLearner(preferences.learning, ensemble, draws)
