from dataclasses import replace

import numpy as np
import pytest
import torch

from pbrl.commands.credit import CreditOptions, main
from pbrl.envs import RenderingUnavailable, make
from pbrl.hindsight import HindsightConfig
from pbrl.training.build import make_env
from pbrl.training.code_presets import with_codes
from pbrl.training.credit import Credit, credit_figure, credit_of, load_learner, play
from pbrl.training.fit import fit
from pbrl.training.run import train
from pbrl.transformer import TransformerConfig
from pbrl.world_model import WorldModelConfig
from tests.training.point_mass import make_data
from tests.training.test_fit import quick

TINY = HindsightConfig(
    world=WorldModelConfig(
        transformer=TransformerConfig(width=8, num_layers=1, num_heads=1),
        max_steps=20,
        batch_size=4,
        initial_updates=2,
        session_updates=1,
    )
)


def short(config, hindsight=None):
    learning = replace(config.preferences.learning, passes=1, hindsight=hindsight)
    schedule = replace(config.preferences.schedule, budget=20, total_steps=120)
    preferences = replace(config.preferences, learning=learning, schedule=schedule)
    return replace(config, steps=120, eval_every=120, eval_episodes=1, preferences=preferences)


def test_the_reward_of_a_run_is_drawn_with_its_prior(tiny_config, tmp_path, capsys):
    folder = tmp_path / "run"
    train(short(tiny_config, TINY), folder)
    main([str(folder), "--start", "3", "--length", "10"])
    assert (folder / "credit.png").read_bytes().startswith(b"\x89PNG")
    assert "credit.png" in capsys.readouterr().out
    learner = load_learner(folder, (2, 1))
    assert learner.hindsight.world.num_updates == 2
    env = make_env(tiny_config, num_envs=1, key=(1,))
    act = lambda seen: torch.zeros(len(seen), 1)  # noqa: E731
    episode = play(act, env, 10, start=3)
    assert episode.segment.mask.shape == (1, 10)
    assert episode.frames == ()
    expected = 1 - episode.segment.observations[0, :, 0].abs()  # of doing nothing
    torch.testing.assert_close(episode.segment.true_rewards[0], expected)
    credit = credit_of(learner, episode.segment)
    assert credit.importance.sum() == pytest.approx(1.0)
    assert credit.rewards.shape == (10,)
    assert play(act, env, 50).segment.mask.shape == (1, 20)  # the episode ends before
    with pytest.raises(ValueError, match="ends before step 30"):
        play(act, env, 5, start=30)


@pytest.mark.many_updates
def test_a_reward_that_sees_codes_is_drawn_too(tiny_config, tmp_path):
    config = with_codes(short(tiny_config), "taco-reward")
    folder = tmp_path / "run"
    train(config, folder)
    main([str(folder), "--length", "10"])
    assert (folder / "credit.png").exists()
    assert load_learner(folder, (2, 1)).codes is not None


def test_an_offline_reward_is_read_too(tmp_path):
    folder = tmp_path / "run"
    fit(quick("p-iql", steps=2, eval_every=2), folder, data=make_data(num_pairs=20))
    assert load_learner(folder, (2, 2)).hindsight is None


def test_a_run_on_true_reward_has_nothing_to_draw(tiny_config, tmp_path):
    config = replace(tiny_config, agent="sac", preferences=None, steps=60, eval_every=60)
    train(replace(config, eval_episodes=1), tmp_path / "run")
    with pytest.raises(ValueError, match="learns no reward with an ensemble"):
        load_learner(tmp_path / "run", (2, 1))


def test_frames_rewards_and_importance_are_under_each_other():
    steps = 12
    rewards = torch.linspace(-1, 1, steps)
    frames = tuple(np.full((4, 4, 3), place, np.uint8) for place in range(steps))
    figure = credit_figure(Credit(rewards, rewards**2, torch.full((steps,), 1 / steps)), frames)
    assert [len(part.axes) for part in figure.subfigs] == [8, 2]
    rewards_panel, importance_panel = figure.subfigs[1].axes
    assert importance_panel.get_ylabel() == "importance"
    assert importance_panel.get_xlim() == rewards_panel.get_xlim()
    figure.draw_without_rendering()
    assert importance_panel.get_position().x0 == rewards_panel.get_position().x0
    without = credit_figure(Credit(rewards, torch.zeros(steps), None), start=5)
    assert len(without.subfigs) == 1
    predicted = without.subfigs[0].axes[0].lines[0]
    assert list(predicted.get_xdata()) == list(range(5, 17))
    assert predicted.get_ydata().mean() == pytest.approx(0.0, abs=1e-6)


def test_frames_of_a_task_are_drawn_one_for_each_step():
    env = make("dmc/cartpole-swingup", backend="official", frame_size=(48, 64))
    env.reset(seed=0)
    try:
        env.render()
    except RenderingUnavailable as error:
        pytest.skip(str(error))
    push = lambda seen: torch.ones(len(seen), 1)  # noqa: E731
    episode = play(push, env, 5, start=2)
    env.close()
    assert [frame.shape for frame in episode.frames] == [(48, 64, 3)] * 5
    assert all(frame.std() > 1 for frame in episode.frames)
    assert not np.array_equal(episode.frames[0], episode.frames[-1])


def test_impossible_options_are_refused(tmp_path):
    with pytest.raises(ValueError, match="start must not be negative and length at least 1"):
        CreditOptions(run=tmp_path, length=0)
