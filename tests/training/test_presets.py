from dataclasses import replace

import pytest

from pbrl.queries import FeedbackSchedule
from pbrl.training.config import TrainConfig
from pbrl.training.decode import decode
from pbrl.training.files import plain
from pbrl.training.pixel_presets import ON_IMAGES
from pbrl.training.preset_numbers import PEBBLE_PAPER, PPE, QPA_PAPER
from pbrl.training.presets import AGENTS, PRESETS, make_config


def test_pebble_on_walker_walk_has_the_numbers_of_b_pref():
    config = make_config("dmc/walker-walk", "pebble", preset="paper")
    assert (config.steps, config.batch_size, config.seed_steps) == (500_000, 1024, 1_000)
    assert config.updates_per_step == 1
    assert config.sac.hidden_sizes == (1024, 1024)
    assert (config.sac.actor_lr, config.sac.critic_lr, config.sac.temperature_lr) == (
        5e-4, 5e-4, 1e-4,
    )  # fmt: skip
    preferences = config.preferences
    assert preferences.reward.num_members == 3
    assert preferences.reward.hidden_sizes == (256, 256, 256)
    assert (preferences.learning.passes, preferences.learning.target_accuracy) == (50, 0.97)
    assert (preferences.sampler.segment_length, preferences.sampler.pool) == (50, 100)
    assert config.replay_rule.recent_share == 0
    sessions = FeedbackSchedule(preferences.schedule).plan()
    assert len(sessions) == 10
    assert {session.size for session in sessions} == {50}
    assert sessions[-1].step == 190_000


def test_pebble_on_meta_world_is_smaller():
    config = make_config("metaworld/button-press-v3", "pebble", preset="paper")
    assert (config.sac.hidden_sizes, config.batch_size) == ((256, 256, 256), 512)
    assert config.preferences.learning.passes == 10
    assert config.sac.actor_lr == 3e-4


def test_qpa_on_walker_walk_has_the_numbers_of_its_script():
    config = make_config("dmc/walker-walk", "qpa", preset="paper")
    preferences = config.preferences
    assert preferences.reward.num_members == 1
    assert (config.replay_rule.recent_share, config.replay_rule.recent_episodes) == (0.5, 10)
    assert preferences.sampler.pool == 10
    assert preferences.sampler.score is None
    learning = preferences.learning
    assert (learning.crops.num_crops, learning.crops.min_cut, learning.crops.max_cut) == (20, 5, 15)
    assert [learning.num_steps(n) for n in (10, 50, 100)] == [157, 782, 1563]
    assert (learning.target_accuracy, learning.accuracy_over) == (0.98, "session")
    sessions = FeedbackSchedule(preferences.schedule).plan()
    assert (len(sessions), sessions[-1].step) == (10, 190_000)


def test_qpa_on_meta_world_does_not_augment_and_keeps_the_large_networks():
    config = make_config("metaworld/door-open-v3", "qpa", preset="paper")
    assert config.preferences.learning.crops is None
    assert config.preferences.learning.passes == 200
    assert config.preferences.sampler.pool == config.replay_rule.recent_episodes == 60
    assert (config.sac.hidden_sizes, config.batch_size) == ((1024, 1024), 1024)
    assert config.eval_episodes == 100


@pytest.mark.parametrize("table", [PEBBLE_PAPER, QPA_PAPER, PPE])
def test_every_row_spends_its_budget(table):
    for env, numbers in table.items():
        config = make_config(env, "qpa", preset="ppe") if table is PPE else None
        if config is None:
            agent = "pebble" if table is PEBBLE_PAPER else "qpa"
            config = make_config(env, agent, preset="paper")
        asked = sum(size for _, size in FeedbackSchedule(config.preferences.schedule).plan())
        # 198 sessions fit into 1e6 steps at every 5,000: "10,000/50" really spends 9,900.
        assert 0.95 * numbers.budget <= asked <= numbers.budget, env


@pytest.mark.parametrize("env", sorted(QPA_PAPER))
def test_the_oracle_has_numbers_wherever_a_paper_compares_with_it(env):
    config = make_config(env, "sac", preset="paper")
    is_small = env.startswith("metaworld/")
    assert config.sac.hidden_sizes == ((256, 256, 256) if is_small else (1024, 1024))
    assert (config.batch_size, config.sac.temperature_lr) == (512 if is_small else 1024, 1e-4)
    slow = env.startswith(("dmc/quadruped", "dmc/humanoid"))
    assert config.sac.critic_lr == (3e-4 if is_small else 1e-4 if slow else 5e-4)


def test_one_protocol_scores_ten_evaluations():
    on_one_world = [preset for preset in PRESETS if preset != "worlds"]
    scored = {name: make_config("dmc/walker-walk", "qpa", preset=name) for name in on_one_world}
    assert {preset: config.score_evaluations for preset, config in scored.items()} == {
        "cpu": 3,
        "paper": 3,
        "ppe": 10,
    }


def test_batched_physics_has_the_numbers_of_its_task():
    for preset in ("cpu", "paper"):
        suite = make_config("dmc/walker-walk", "qpa", preset=preset)
        batched = make_config("mjx/walker-walk", "qpa", preset=preset)
        assert batched == replace(suite, env="mjx/walker-walk")


def test_sheet_arithmetic_of_ten_thousand_labels():
    schedule = make_config("metaworld/sweep-into-v3", "pebble", preset="paper").preferences.schedule
    assert sum(size for _, size in FeedbackSchedule(schedule).plan()) == 9_900


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize(
    "env", ["dmc/walker-walk", "metaworld/window-open-v3", "gym/HalfCheetah-v5", "gym/Pendulum-v1"]
)
def test_cpu_presets_exist_for_every_environment(agent, env):
    config = make_config(env, agent)
    assert config.batch_size == (128 if agent in ON_IMAGES else 256)
    assert decode(TrainConfig, plain(config)) == config


def test_the_method_can_be_changed_part_by_part():
    config = make_config("dmc/walker-walk", "pebble", sampler="disagreement", teacher="mistake")
    assert config.preferences.sampler.score == "disagreement"
    assert config.preferences.teacher.mistake_probability == 0.1
    changed = replace(config, replay_rule=replace(config.replay_rule, recent_share=0.5))
    assert changed.replay_rule.recent_share == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"env": "dmc/walker-wlak"}, "walker-walk"),
        ({"env": "dmc/walker-walk", "agent": "qqa"}, "unknown agent"),
        ({"env": "dmc/walker-walk", "teacher": "orcale"}, "oracle"),
        ({"env": "dmc/walker-walk", "sampler": "uniformly"}, "uniform"),
        ({"env": "dmc/hopper-hop", "preset": "paper"}, "no numbers for qpa on dmc/hopper-hop"),
        ({"env": "dmc/walker-walk", "agent": "sac", "control": "flipped-labels"}, "needs labels"),
        ({"env": "dmc/walker-walk", "agent": "sac", "teacher": "mistake"}, "teacher needs labels"),
        ({"env": "dmc/walker-walk", "agent": "taco", "sampler": "entropy"}, "sampler needs labels"),
    ],
)
def test_wrong_names_are_refused_with_the_nearest(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_config(**arguments)
