"""PPO in the one online loop."""

from dataclasses import replace

import pytest
import torch

from pbrl.agents.ppo import PPOConfig
from pbrl.replay_rules import ReplayRuleConfig
from pbrl.training.actors import load_sac, load_saved_policy
from pbrl.training.build import build_loop
from pbrl.training.run import load_policy, train
from tests.training.test_online import finish, score, with_preferences

NUM_ENVS, HORIZON, STEPS = 16, 10, 2_880


@pytest.fixture
def on_policy(tiny_config):
    """PPO on the task that SAC learns in `tiny_config`, with more steps."""
    schedule = replace(
        tiny_config.preferences.schedule, first_step=640, interval=320, total_steps=STEPS
    )
    preferences = replace(
        tiny_config.preferences,
        warm_up_updates=0,
        schedule=schedule,
        learning=replace(tiny_config.preferences.learning, passes=15),
    )
    return replace(
        tiny_config,
        agent="pref-ppo",
        steps=STEPS,
        environment=replace(tiny_config.environment, num_envs=NUM_ENVS),
        ppo=PPOConfig(
            hidden_sizes=(32,),
            value_hidden_sizes=(32,),
            learning_rate=1e-2,
            horizon=HORIZON,
            num_epochs=3,
            num_minibatches=4,
            discount=0.0,
        ),
        batch_size=256,
        seed_steps=0,
        preferences=preferences,
        eval_every=STEPS,
        checkpoint_every=STEPS // 2,
        log_every=STEPS // 4,
    )


def test_learning_shows_and_the_control_fails(on_policy):
    # An episode of 20 steps pays at most 20; acting at random pays about 6.7, zero pays 10.
    assert score(finish(build_loop(on_policy))) > 15
    flipped = with_preferences(on_policy, control="flipped-labels")
    assert score(finish(build_loop(flipped))) < 8


def test_true_reward_learns_without_asking(on_policy):
    loop = finish(build_loop(replace(on_policy, agent="ppo", preferences=None)))
    assert score(loop) > 15
    assert loop.source.num_asked == 0
    assert loop.num_updates == STEPS // (NUM_ENVS * HORIZON)


def test_an_update_sees_the_steps_since_the_last_one_with_the_rewards_of_now(on_policy):
    loop = build_loop(on_policy)
    seen, was_ready = [], []
    update = loop.agent.update

    def watched(batch):
        assert batch.rewards.shape == (HORIZON, NUM_ENVS)
        seen.append(batch)
        was_ready.append(loop.source.is_ready)
        metrics = update(batch)
        assert loop.agent.log_prob(batch.observations, batch.actions).isfinite().all()
        return metrics

    loop.agent.update = watched
    taken, steps = [], []
    while loop.step < 960:
        observations, actions = loop.collector.observations.clone(), loop._actions
        loop._actions = lambda act=actions: taken.append(act()) or taken[-1]
        steps.append(observations)
        loop.advance()
        loop._actions = actions
    assert was_ready == [False] * 3 + [True] * 3  # the fourth ends with the first session
    for number, batch in enumerate(seen):
        rows = slice(number * HORIZON, (number + 1) * HORIZON)
        assert torch.equal(batch.observations, torch.stack(steps[rows]))
        assert torch.equal(batch.actions, torch.stack(taken[rows]))
    session = loop.replay.newest(HORIZON)
    expected = loop.source.rewards(
        session.observations.flatten(0, 1), session.actions.flatten(0, 1)
    )
    torch.testing.assert_close(session.rewards.flatten(), expected)


def test_a_run_goes_on_where_it_was_stopped(on_policy, tmp_path, monkeypatch):
    from pbrl.training.online import OnlineLoop

    advance = OnlineLoop.advance

    def stops(loop):
        if loop.step >= 1_600:
            raise KeyboardInterrupt
        advance(loop)

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(OnlineLoop, "advance", stops)
        with pytest.raises(KeyboardInterrupt):
            train(on_policy, folder)
    result = train(on_policy, folder, resume=True)
    assert result.steps == STEPS
    assert result.score > 15
    assert result.labels_given == 60
    saved = load_saved_policy(folder, 2, 1)
    seen = torch.rand(4, 2)
    assert saved.log_prob(seen, saved.sample(seen, torch.zeros(4, 1))).isfinite().all()
    with pytest.raises(ValueError, match="is a PPO, and SAC is needed"):
        load_sac(folder)
    policy, config = load_policy(folder)
    assert config == on_policy
    assert policy(torch.tensor([[0.5, 0.0]])).item() == pytest.approx(0.5, abs=0.35)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 64}, "batch_size must be 256 with ppo, which learns from its newest"),
        ({"updates_per_step": 0.5}, "updates_per_step must be 1.0 with ppo"),
        ({"seed_steps": 100}, "seed_steps must be 0 with ppo"),
        ({"replay_rule": ReplayRuleConfig(recent_share=0.5)}, "replay_rule must be"),
    ],
)
def test_numbers_that_would_do_nothing_are_refused(on_policy, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(on_policy, **changes)


def test_updates_that_cannot_be_are_refused(on_policy):
    with pytest.raises(ValueError, match="warm_up_updates must be 0 with ppo"):
        with_preferences(on_policy, warm_up_updates=100)
    many = replace(on_policy.ppo, num_minibatches=161)
    with pytest.raises(ValueError, match="at most the 160 steps of an update"):
        replace(on_policy, ppo=many)
    long = replace(on_policy.ppo, horizon=100)
    with pytest.raises(ValueError, match="replay_capacity must hold the 1600 steps of an update"):
        replace(on_policy, ppo=long, replay_capacity=1_599)
