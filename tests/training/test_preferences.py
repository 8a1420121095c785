from itertools import permutations

import pytest
import torch

from pbrl.feedback import Answers, Queries
from pbrl.queries import CallableTeacher, FeedbackSchedule, QuerySampler, SamplerConfig
from pbrl.queries.schedules import ScheduleConfig
from pbrl.queries.teachers import MixtureTeacher, SimulatedTeacher, teacher_kind
from pbrl.randomness import Generators
from pbrl.replay import ReplayBuffer
from pbrl.reward_learning import RewardLearner, RewardLearningConfig
from pbrl.rewards import RewardConfig, RewardEnsemble
from pbrl.training.preferences import PreferenceReward, corrupted
from pbrl.training.reward_source import TrainingProgress

PROGRESS = TrainingProgress(recent_return=0.0, episode_length=20)


def replay_with_episodes(num_episodes: int = 8, length: int = 20) -> ReplayBuffer:
    """Steps whose true reward is their action."""
    generator = torch.Generator().manual_seed(0)
    replay = ReplayBuffer(num_episodes * length, 2, 1)
    for step in range(num_episodes * length):
        observation = torch.randn(1, 2, generator=generator)
        action = torch.rand(1, 1, generator=generator) * 2 - 1
        replay.add(
            observation,
            action,
            torch.zeros(1),
            action[:, 0],
            observation,
            torch.tensor([False]),
            torch.tensor([step % length == length - 1]),
        )
    return replay


def source(replay: ReplayBuffer, teacher, **schedule) -> PreferenceReward:
    generators = Generators(0, ("queries", "teacher", "reward", "initial"))
    ensemble = RewardEnsemble(
        RewardConfig(num_members=2, hidden_sizes=(32,)), 2, 1, generator=generators["initial"]
    )
    config = ScheduleConfig(
        **{"budget": 40, "session_size": 20, "first_step": 10, "interval": 10, "total_steps": 100}
        | schedule
    )
    return PreferenceReward(
        learner=RewardLearner(RewardLearningConfig(learning_rate=1e-2), ensemble),
        sampler=QuerySampler(SamplerConfig(segment_length=5)),
        schedule=FeedbackSchedule(config),
        teacher=teacher,
        replay=replay,
        generators=generators,
    )


def oracle(segments):
    returns = segments.true_returns()
    return (returns[:, 1] > returns[:, 0]).float()


def test_sessions_follow_the_schedule_and_relabel_everything():
    replay = replay_with_episodes()
    preferences = source(replay, CallableTeacher(oracle))
    assert not preferences.is_ready
    assert preferences.hold_session(9, 1, PROGRESS) is None
    metrics = preferences.hold_session(10, 1, PROGRESS)
    assert metrics is not None
    assert preferences.is_ready
    assert preferences.num_asked == 20
    assert "reward/unseen_accuracy" not in metrics  # nothing was learned before these labels
    metrics = preferences.hold_session(20, 1, PROGRESS)
    assert metrics["reward/unseen_accuracy"] > 0.7
    assert not preferences.is_asking
    assert preferences.hold_session(30, 1, PROGRESS) is None
    batch = replay.sample(100, torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        batch.rewards, preferences.rewards(batch.observations, batch.actions)
    )


def test_steps_are_worth_nothing_before_the_first_label():
    preferences = source(replay_with_episodes(), CallableTeacher(oracle))
    true = torch.ones(3)
    rewards = preferences.step_rewards(torch.zeros(3, 2), torch.zeros(3, 1), true)
    assert torch.equal(rewards, torch.zeros(3))


def test_a_teacher_who_skips_everything_costs_budget_and_teaches_nothing():
    preferences = source(
        replay_with_episodes(), CallableTeacher(lambda segments: [None] * len(segments))
    )
    with pytest.warns(RuntimeWarning, match=r"none of 20 answers .* \(20 skipped, 0 ties\)"):
        preferences.hold_session(10, 1, PROGRESS)
    assert (preferences.num_asked, preferences.num_labelled) == (20, 0)
    assert not preferences.is_ready


def test_a_session_planned_for_the_beginning_is_held_with_the_first_steps():
    preferences = source(replay_with_episodes(), CallableTeacher(oracle), first_step=0)
    preferences.hold_session(0, 0, PROGRESS)
    assert preferences.num_asked == 0
    for step, asked in ((4, 20), (8, 20), (12, 40)):
        preferences.hold_session(step, 4, PROGRESS)
        assert preferences.num_asked == asked


class LateTeacher:
    """Answers the queries of one call at the next."""

    def __init__(self) -> None:
        self.waiting: list[Queries] = []

    def __call__(self, queries: Queries, generator: torch.Generator) -> Answers:
        ready, self.waiting = self.waiting, [queries]
        ids = torch.cat([old.ids for old in ready] or [torch.zeros(0, dtype=torch.int64)])
        labels = torch.cat([oracle(old.segments) for old in ready] or [torch.zeros(0)])
        return Answers.of(ids, labels, "late")


def test_late_answers_enter_at_the_next_session():
    preferences = source(replay_with_episodes(), LateTeacher())
    preferences.hold_session(10, 1, PROGRESS)
    assert (preferences.num_asked, preferences.num_labelled) == (20, 0)
    preferences.hold_session(20, 1, PROGRESS)
    assert (preferences.num_asked, preferences.num_labelled) == (40, 20)
    assert preferences.is_ready


def test_queries_without_an_answer_are_asked_again_after_a_fault():
    replay = replay_with_episodes()

    def absent(segments):
        raise ValueError("nobody at home")

    preferences = source(replay, CallableTeacher(absent))
    with pytest.raises(ValueError, match="nobody"):
        preferences.hold_session(10, 1, PROGRESS)
    state = preferences.state_dict()
    resumed = source(replay, CallableTeacher(oracle))
    resumed.load_state_dict(state)
    resumed.ask_again(PROGRESS)
    assert (resumed.num_asked, resumed.num_labelled) == (20, 20)
    resumed.ask_again(PROGRESS)
    assert resumed.num_labelled == 20


def test_another_kind_of_teacher_does_not_take_over():
    replay = replay_with_episodes()
    teachers = (
        CallableTeacher(oracle),
        SimulatedTeacher(),
        MixtureTeacher([SimulatedTeacher(), CallableTeacher(oracle)]),
        MixtureTeacher([CallableTeacher(oracle), SimulatedTeacher()]),
    )
    for one in teachers:
        state = source(replay, one).state_dict()
        source(replay, one).load_state_dict(state)
        for other in teachers:
            if other is not one:
                with pytest.raises(ValueError, match="kind") as refused:
                    source(replay, other).load_state_dict(state)
                assert teacher_kind(one) in str(refused.value)
                assert teacher_kind(other) in str(refused.value)


def test_states_that_do_not_name_the_teacher_are_told_apart_by_its_memory():
    replay = replay_with_episodes()
    for one, other in permutations((CallableTeacher(oracle), SimulatedTeacher())):
        state = source(replay, one).state_dict()
        del state["teacher_kind"]
        source(replay, one).load_state_dict(state)
        with pytest.raises(ValueError, match=f"of the kind {teacher_kind(other)}"):
            source(replay, other).load_state_dict(state)


@pytest.mark.parametrize("labels", [[2.0] * 20, [0.5] * 3])
def test_impossible_labels_stop_the_session_before_anything_is_recorded(labels):
    preferences = source(replay_with_episodes(), CallableTeacher(lambda segments: labels))
    with pytest.raises(ValueError, match="label"):
        preferences.hold_session(10, 1, PROGRESS)
    assert preferences.num_labelled == 0


def test_a_session_waits_for_an_episode_of_the_pool_that_is_long_enough():
    replay = replay_with_episodes(length=4)
    preferences = source(replay, CallableTeacher(oracle))
    assert preferences.hold_session(10, 1, PROGRESS) is None
    assert preferences.hold_session(20, 10, PROGRESS) is None
    assert preferences.hold_session(21, 1, PROGRESS) is None
    assert preferences.num_asked == 0
    preferences.replay = replay_with_episodes(num_episodes=1)
    assert preferences.hold_session(22, 1, PROGRESS) is not None
    assert preferences.num_asked == 40  # of both sessions, which is the budget
    assert preferences.hold_session(30, 8, PROGRESS) is None


def test_a_run_that_ends_without_a_session_says_what_was_lacking():
    preferences = source(replay_with_episodes(length=4), CallableTeacher(oracle))
    assert preferences.hold_session(99, 99, PROGRESS) is None
    with pytest.raises(ValueError, match="longest has 4 steps"):
        preferences.hold_session(100, 1, PROGRESS)


def test_a_run_that_held_a_session_may_end_while_another_waits():
    preferences = source(replay_with_episodes(), CallableTeacher(oracle))
    preferences.hold_session(10, 1, PROGRESS)
    preferences.replay = replay_with_episodes(length=4)
    assert preferences.hold_session(100, 90, PROGRESS) is None
    assert preferences.num_asked == 20


def test_controls_flip_and_shuffle():
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0.0, 1.0, 0.5, torch.nan, 0.25])
    answers = Answers.of(torch.arange(5), labels, "x")
    flipped = corrupted(answers, "flipped-labels", generator).labels
    torch.testing.assert_close(
        flipped, torch.tensor([1.0, 0.0, 0.5, torch.nan, 0.75]), equal_nan=True
    )
    many = Answers.of(torch.arange(1_000), (torch.arange(1_000) < 500).float(), "x")
    shuffled = corrupted(many, "shuffled-labels", generator).labels
    assert shuffled.sum() == 500
    assert 0.4 < float((shuffled == many.labels).float().mean()) < 0.6
    assert corrupted(answers, "none", generator) is answers


def test_flipped_labels_teach_the_opposite():
    replay = replay_with_episodes()
    right, wrong = source(replay, CallableTeacher(oracle)), source(replay, CallableTeacher(oracle))
    wrong.control = "flipped-labels"
    for preferences in (right, wrong):
        preferences.hold_session(10, 1, PROGRESS)
    assert right.hold_session(20, 1, PROGRESS)["reward/unseen_accuracy"] > 0.7
    assert wrong.hold_session(20, 1, PROGRESS)["reward/unseen_accuracy"] < 0.3
