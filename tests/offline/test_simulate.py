import pytest
import torch

from pbrl.feedback import FeedbackStore
from pbrl.offline.segment_scores import step_contributions
from pbrl.offline.simulate import (
    Judge,
    ScoreConfig,
    decided_agreement,
    draw_segments,
    fit_teacher,
    label_pairs,
    score_segments,
)
from pbrl.queries.simulated import TEACHERS, SimulatedTeacher, TeacherConfig
from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex

LENGTHS = [7, 3, 12]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def replay():
    total = sum(LENGTHS)
    return ReplayBuffer.from_episodes(
        observations=torch.randn(total, 2, generator=generator(1)),
        actions=torch.zeros(total, 1),
        true_rewards=torch.randn(total, generator=generator(2)),
        last_observations=torch.zeros(3, 2),
        lengths=torch.tensor(LENGTHS),
        terminated=torch.zeros(3, dtype=torch.bool),
    )


def value(observations):
    return observations.sum(-1)


def test_every_window_inside_an_episode_is_drawn_exactly_once(replay):
    index = draw_segments(replay, 13, 4, generator())
    drawn = set(zip(index.episode.tolist(), index.start.tolist(), strict=True))
    assert drawn == {(0, k) for k in range(4)} | {(2, k) for k in range(9)}
    assert index.length.tolist() == [4] * 13
    with pytest.raises(ValueError, match=r"14 segments of 4 steps .* hold 13 .* longest .* 12"):
        draw_segments(replay, 14, 4, generator())
    with pytest.raises(ValueError, match="number and length must be at least 1, got 3 and 0"):
        draw_segments(replay, 3, 0, generator())


def test_windows_are_drawn_uniformly(replay):
    counts = torch.zeros(13)
    for seed in range(2_000):
        index = draw_segments(replay, 1, 4, generator(seed))
        counts[int(index.start) + (4 if int(index.episode) == 2 else 0)] += 1
    expected = 2_000 / 13
    assert ((counts - expected).square() / expected).sum() < 32.9  # chi squared, 12 d.f., 0.1 %


def test_a_segment_is_scored_by_its_own_steps_and_the_values_of_its_states(replay):
    index = draw_segments(replay, 13, 4, generator())
    segments = replay.gather(index)
    for name in ("return", "discounted-return", "regret", "discounted-regret"):
        judge = Judge(replay, ScoreConfig(score=name, discount=0.9), value)
        expected = step_contributions(
            name, segments.true_rewards, value(segments.observations), segments.mask, 0.9
        )
        torch.testing.assert_close(judge.contributions(index), expected)
        scored = score_segments(judge, index)
        torch.testing.assert_close(scored.scores, expected.sum(-1).float())
        assert scored.segments is index


def test_a_state_is_valued_once_however_many_segments_it_is_in(replay):
    seen = []

    def counting(observations):
        seen.append(len(observations))
        return value(observations)

    index = draw_segments(replay, 13, 4, generator())
    Judge(replay, ScoreConfig(), counting).contributions(index)
    assert seen == [7 + 12]


def test_segments_of_different_lengths_are_scored(replay):
    index = SegmentIndex(torch.tensor([0, 2]), torch.tensor([1, 0]), torch.tensor([3, 5]))
    judge = Judge(replay, ScoreConfig(score="return"))
    expected = replay.gather(index).true_returns()
    torch.testing.assert_close(judge.contributions(index).sum(-1).float(), expected)


def test_a_rational_teacher_answers_as_the_scores_say(replay, tmp_path):
    judge = Judge(replay, ScoreConfig(score="regret"), value)
    index = draw_segments(replay, 12, 4, generator())
    pairs = index.reshape(6, 2)
    store = label_pairs(judge, replay, pairs, SimulatedTeacher(), generator())
    store.save(tmp_path / "labels.npz")
    labelled = FeedbackStore.load(tmp_path / "labels.npz").labelled()
    scores = score_segments(judge, index).scores.reshape(6, 2)
    assert labelled.labels.tolist() == (scores[:, 1] > scores[:, 0]).float().tolist()
    assert torch.equal(labelled.index.episode, pairs.episode)
    assert torch.equal(labelled.index.start, pairs.start)


def test_teachers_err_and_skip_on_the_score_they_are_given(replay):
    judge = Judge(replay, ScoreConfig(score="regret"), value)
    pairs = draw_segments(replay, 12, 4, generator()).reshape(6, 2)
    right = label_pairs(judge, replay, pairs, SimulatedTeacher(), generator()).labelled().labels
    liar = SimulatedTeacher(TeacherConfig(mistake_probability=1.0))
    wrong = label_pairs(judge, replay, pairs, liar, generator()).labelled().labels
    assert wrong.tolist() == (1 - right).tolist()
    config = fit_teacher(TEACHERS["skip"], "regret")
    assert config.threshold_rule == "range"
    assert fit_teacher(TEACHERS["skip"], "return") == TEACHERS["skip"]
    picky = TeacherConfig(skip_threshold=0.9, threshold_rule="range")
    store = label_pairs(judge, replay, pairs, SimulatedTeacher(picky), generator())
    assert 0 < store.num_skipped < 6


def test_regret_needs_a_value_function(replay):
    with pytest.raises(ValueError, match="the score regret needs a value function"):
        Judge(replay, ScoreConfig())
    with pytest.raises(ValueError, match=r"discount must lie in \(0, 1\], got 0"):
        ScoreConfig(discount=0.0)


def test_agreement_counts_decided_pairs_alone():
    pairs = torch.tensor([[0, 1], [1, 2], [2, 3], [0, 3]])
    first = torch.tensor([0.0, 1.0, 2.0, 2.0])  # up, up, equal, up
    second = torch.tensor([0.0, 1.0, -1.0, 3.0])  # up, down, up, up
    assert decided_agreement(first, second, pairs) == pytest.approx(2 / 3)
