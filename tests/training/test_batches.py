import torch

from pbrl.intrinsic import IntrinsicConfig, IntrinsicReward, knn_distances
from pbrl.queries import CallableTeacher
from pbrl.replay_rules import ReplayRuleConfig
from pbrl.training.batches import draw_batch

from .test_preferences import PROGRESS, replay_with_episodes, source


def oracle(segments):
    returns = segments.true_returns()
    return (returns[:, 1] > returns[:, 0]).float()


def draw(preferences, replay, **rule):
    return draw_batch(
        replay,
        64,
        source=preferences,
        rule=ReplayRuleConfig(**rule),
        intrinsic=IntrinsicReward(IntrinsicConfig(normalize=False)),
        generator=torch.Generator().manual_seed(0),
    )


def test_before_the_first_label_the_reward_is_the_distance_to_other_states():
    replay = replay_with_episodes()
    batch = draw(source(replay, CallableTeacher(oracle)), replay)
    expected = knn_distances(batch.observations, replay.all_observations(), 5)
    torch.testing.assert_close(batch.rewards, expected)


def test_afterwards_it_is_the_learned_one():
    replay = replay_with_episodes()
    preferences = source(replay, CallableTeacher(oracle))
    preferences.hold_session(10, 1, PROGRESS)
    batch = draw(preferences, replay)
    expected = preferences.rewards(batch.observations, batch.actions)
    torch.testing.assert_close(batch.rewards, expected)


def test_the_replay_rule_holds_only_while_the_budget_lasts():
    replay = replay_with_episodes()
    last = replay.gather(
        replay.sample_segments(400, 1, torch.Generator(), replay.completed_episodes(1))
    )
    recent = {tuple(row) for row in last.observations.flatten(0, 1).tolist()}
    preferences = source(replay, CallableTeacher(oracle))
    preferences.hold_session(10, 1, PROGRESS)
    rule = {"recent_share": 1.0, "recent_episodes": 1}
    assert {tuple(row) for row in draw(preferences, replay, **rule).observations.tolist()} <= recent
    preferences.hold_session(20, 1, PROGRESS)
    assert not preferences.is_asking
    seen = {tuple(row) for row in draw(preferences, replay, **rule).observations.tolist()}
    assert not seen <= recent
