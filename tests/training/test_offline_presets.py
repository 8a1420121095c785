from dataclasses import replace
from itertools import product

import pytest

from pbrl.agents.cpl_variants import VARIANTS
from pbrl.agents.iql import IQLConfig
from pbrl.offline.dataset import DatasetInfo
from pbrl.training.files import plain
from pbrl.training.fit_config import decode_fit_config, method_config_class
from pbrl.training.offline_presets import PRESETS, Facts, benchmark_of, make_fit_config

SEQUENCES = ("oppo", "dtr", "dt", "pb-dt", "qt", "pb-qt", "dppo", "preference-transformer")
PLAIN = ("bc", "%bc", "sft", "iql", "p-iql", "p-iql-joint", "ipl", "hindsight-prior", "pearl")
AGENTS = (*PLAIN, *VARIANTS, *SEQUENCES)


def facts(name="hopper-medium-replay-v2", family="d4rl", env="gym/Hopper-v5", **changes):
    info = DatasetInfo(name=name, family=family, env=env)
    return Facts(info=info, **({"segment_steps": 100, "num_labels": 500} | changes))


METAWORLD = facts("mw_drawer-open-v2_ep2500_n0.3", "pairs", None, segment_steps=64)


@pytest.mark.parametrize(
    ("name", "family", "env", "benchmark"),
    [
        ("hopper-medium-expert-v2", "d4rl", None, "mujoco"),
        ("mujoco/halfcheetah/medium-v0", "minari", "gym/HalfCheetah-v5", "mujoco"),
        ("antmaze-large-play-v2", "d4rl", None, "antmaze"),
        ("D4RL/antmaze/umaze-v1", "minari", None, "antmaze"),
        ("hammer-cloned-v1", "d4rl", None, "adroit"),
        ("D4RL/pen/human-v2", "minari", None, "adroit"),
        ("kitchen-mixed-v0", "d4rl", None, "kitchen"),
        ("low_dim", "robomimic", None, "robomimic"),
        ("mw_door-open-v2_ep2500_n0.3", "pairs", None, "metaworld"),
        ("mixture", "minari", "metaworld/hammer-v3-cpl", "metaworld"),
        ("point-mass", "npz", None, "other"),
    ],
)
def test_benchmarks_are_told_apart(name, family, env, benchmark):
    assert benchmark_of(DatasetInfo(name=name, family=family, env=env)) == benchmark


@pytest.mark.parametrize("agent", AGENTS)
def test_every_agent_has_sizes_for_two_cores_and_comes_back_from_json(agent):
    for given in (facts(), METAWORLD, facts("point-mass", "npz", None, segment_steps=15)):
        config = make_fit_config("data", agent, given)
        assert isinstance(config.method, method_config_class(agent))
        assert config.steps <= 20_000
        assert decode_fit_config(plain(config)) == config


def test_learned_rewards_keep_their_scale_where_nothing_terminates():
    def scaling(agent, name="mw_door-open-v2_ep2500_n0.3"):
        known = facts(name, "pairs", None, segment_steps=64)
        return make_fit_config("data", agent, known, preset="cpu").reward.scaling.kind

    assert [scaling(agent) for agent in ("p-iql", "pearl", "iql")] == ["none", "none", "z-score"]
    assert scaling("p-iql", "hopper-medium-expert-v2") == "return-range"


def test_cpl_on_metaworld():
    sft = make_fit_config("data", "sft", METAWORLD, preset="cpl")
    assert (sft.steps, sft.eval_every, sft.eval_episodes) == (500_000, 5_000, 25)
    assert (sft.method.preferred_after, sft.method.batch_size) == (200_000, 96)
    assert sft.method.learning_rate == 1e-4
    assert sft.method.policy.hidden_sizes == (512, 512)
    assert sft.method.policy.dropout == 0.25
    p_iql = make_fit_config("data", "p-iql-joint", METAWORLD, preset="cpl").method
    assert (p_iql.reward_updates, p_iql.num_pairs) == (50_000, 96)
    assert p_iql.iql.inverse_temperature == pytest.approx(3.0, abs=1e-3)
    assert p_iql.iql.policy_decay_updates == 500_000
    assert p_iql.iql.policy.kind == "fixed-variance"
    assert make_fit_config("data", "%bc", METAWORLD, preset="paper").best_share == 0.1


def test_ipl_and_its_baselines():
    ipl = make_fit_config("data", "ipl", facts(), preset="ipl")
    assert (ipl.steps, ipl.method.regularizer, ipl.method.num_pairs) == (1_000_000, 0.5, 8)
    of_metaworld = make_fit_config("data", "ipl", METAWORLD, preset="paper").method
    assert (of_metaworld.regularizer, of_metaworld.expectile) == (3.0, 0.75)
    assert (of_metaworld.num_transitions, of_metaworld.segment_steps) == (0, 16)
    short = facts("lift-ph", "robomimic", None, segment_steps=50)
    assert make_fit_config("data", "ipl", short, preset="ipl").method.segment_steps == 32
    baseline = make_fit_config("data", "p-iql-joint", short, preset="ipl").method
    assert (baseline.reward_updates, baseline.dataset_weight) == (20_000, 0.5)
    assert baseline.iql.inverse_temperature == 0.5
    oracle = make_fit_config("data", "iql", facts(), preset="ipl")
    assert (oracle.reward.source, oracle.reward.scaling.kind) == ("true", "return-range")


def test_preference_transformer_and_uni_rlhf():
    mujoco = make_fit_config("data", "p-iql", facts(), preset="pt")
    assert mujoco.method == IQLConfig()
    assert (mujoco.reward.learning.score, mujoco.reward.learning.passes) == ("mean", 10_000)
    assert mujoco.reward.scaling.shift == 0.5
    antmaze = make_fit_config("data", "p-iql", facts("antmaze-large-play-v2"), preset="paper")
    assert (antmaze.method.expectile, antmaze.method.inverse_temperature) == (0.9, 10.0)
    assert antmaze.reward.scaling.spread_lowest
    assert (antmaze.eval_every, antmaze.eval_episodes) == (100_000, 100)
    uni = make_fit_config("data", "p-iql", facts("hopper-medium-v2"), preset="uni-rlhf")
    assert uni.normalize_observations
    assert uni.method.policy.kind == "fixed-variance"
    assert (uni.reward.learning.target_accuracy, uni.reward.network.num_members) == (0.968, 3)
    odd = make_fit_config("data", "p-iql", facts("hopper-medium-expert-v2"), preset="uni-rlhf")
    assert (odd.method.expectile, odd.method.inverse_temperature) == (0.5, 6.0)
    true = make_fit_config("data", "iql", facts(), preset="pt")
    assert true.reward.source == "true"


@pytest.mark.parametrize(
    ("name", "family", "factor", "shift"),
    [
        ("hopper-medium-v2", "d4rl", 1_000, 0.5),
        ("antmaze-large-play-v2", "d4rl", 1_000, -1),
        ("antmaze-umaze-diverse-v2", "d4rl", 700, -1),
        ("pen-human-v1", "d4rl", 100, 0),
        ("D4RL/pen/human-v2", "minari", 100, 0),
        ("hammer-cloned-v1", "d4rl", 200, 0),
        ("lift-ph", "robomimic", 500, 0),
    ],
)
def test_preference_transformer_stretches_learned_rewards_to_the_time_limit(
    name, family, factor, shift
):
    for agent in ("p-iql", "preference-transformer"):
        made = make_fit_config("data", agent, facts(name, family, None), preset="pt")
        scaling = made.reward.scaling
        assert (scaling.kind, scaling.factor, scaling.shift) == ("return-range", factor, shift)


@pytest.mark.parametrize(
    ("name", "family", "kind", "shift"),
    [
        ("hopper-medium-v2", "d4rl", "return-range", 0),
        ("antmaze-large-play-v2", "d4rl", "none", -1),
        ("pen-human-v1", "d4rl", "none", 0),
        ("lift-ph", "robomimic", "none", 0),
    ],
)
def test_preference_transformer_s_oracle_has_a_scale_of_its_own(name, family, kind, shift):
    made = make_fit_config("data", "iql", facts(name, family, None), preset="paper")
    scaling = made.reward.scaling
    assert (scaling.kind, scaling.shift, scaling.spread_lowest) == (kind, shift, False)


def test_preference_transformer_as_a_reward():
    made = make_fit_config("data", "preference-transformer", facts(), preset="paper")
    reward = made.reward
    assert made.method == make_fit_config("data", "p-iql", facts(), preset="pt").method
    assert reward.model == "preference-transformer"
    assert (reward.transformer.transformer.width, reward.transformer.transformer.num_heads) == (
        256, 4,
    )  # fmt: skip
    assert (reward.learning.learning_rate, reward.learning.batch_size) == (1e-3, 256)
    assert reward.learning.num_steps(500) == 20_000
    small = make_fit_config("data", "preference-transformer", facts(segment_steps=200)).reward
    assert small.transformer.num_timesteps == 200


def test_oppo_s_two_programs():
    scripted = make_fit_config("data", "oppo", facts(), preset="paper")
    assert (scripted.steps, scripted.eval_every, scripted.eval_episodes) == (100_000, 1_000, 10)
    assert scripted.normalize_observations
    method = scripted.method
    assert (method.context_dim, method.policy.context, method.num_pairs) == (8, 20, 64)
    # Its alpha of 0.1 and clip of 0.25 belong to twice our loss.
    assert (method.preference_weight, method.norm_weight, method.context_rate) == (0.05, 0.1, 1e-3)
    assert (method.gradient_clip, method.segment_steps) == (0.125, None)
    assert (method.policy_rate.warmup, method.initial_std, method.decoding) == (10_000, 2.0, "raw")
    odd = make_fit_config("data", "oppo", facts("halfcheetah-medium-expert-v2"), preset="oppo")
    assert (odd.method.norm_weight, odd.method.preference_weight) == (0.05, 0.125)
    assert (odd.method.context_rate, odd.method.gradient_clip) == (1e-2, 0.125)
    people = make_fit_config("data", "oppo", facts("lift-ph", "robomimic", None), preset="oppo")
    method = people.method
    assert (method.context_dim, method.policy.context, method.schedule) == (16, 100, "alternate")
    assert (method.preference_weight, method.norm_term, method.context_rate) == (10, "hinge", 1e-2)
    assert (method.pair_imitation_weight, method.norm_weight, method.gradient_clip) == (
        2,
        0.2,
        0.25,
    )
    assert method.segment_steps is None
    assert (method.policy.transformer.num_heads, method.initial_std) == (2, 1.0)
    assert (method.observation_noise, people.eval_episodes) == (0.1, 50)


def test_oppo_on_two_cores_reads_labelled_segments_whole():
    method = make_fit_config("data", "oppo", facts(segment_steps=200)).method
    assert method.segment_steps is None
    assert (method.preference_weight, method.norm_weight, method.gradient_clip) == (0.1, 0.1, 1.0)


@pytest.mark.parametrize(
    ("name", "places"),
    [("can-mh", 1_050), ("Can_mh", 1_050), ("can-ph", 500), ("lift-mh", 500), ("low_dim", 500)],
)
def test_oppo_knows_the_longest_episodes_of_its_tasks(name, places):
    made = make_fit_config("data", "oppo", facts(name, "robomimic", None), preset="oppo")
    assert made.method.policy.num_timesteps == places
    antmaze = make_fit_config("data", "oppo", facts("antmaze-large-play-v2"), preset="oppo")
    assert antmaze.method.policy.num_timesteps == 1_001


def test_dtr_and_its_baselines():
    dtr = make_fit_config("data", "dtr", facts("hopper-medium-replay-v2"), preset="paper")
    assert (dtr.steps, dtr.method.max_coefficient) == (50_000, 3.0)
    assert dtr.method.imitation.policy.transformer.width == 256
    assert (dtr.reward.members, dtr.reward.scaling.kind) == ("standardized", "none")
    assert (dtr.reward.learning.passes, dtr.reward.learning.target_accuracy) == (50, 0.968)
    other = make_fit_config("data", "dtr", facts("walker2d-medium-v2"), preset="dtr")
    assert other.method.max_coefficient == 1.0
    adroit = make_fit_config("data", "pb-dt", facts("hammer-cloned-v1"), preset="dtr")
    assert adroit.method == dtr.method.imitation
    assert (adroit.reward.learning.passes, adroit.reward.source) == (100, "labels")
    assert (adroit.reward.members, adroit.reward.scaling.kind) == ("mean", "z-score")
    qt = make_fit_config("data", "pb-qt", facts(), preset="dtr").method
    assert (qt.coefficient_updates, qt.max_coefficient) == (None, 3.0)
    for agent, preset in product(("dt", "qt"), ("cpu", "paper")):
        made = make_fit_config("data", agent, facts(), preset=preset)
        assert (made.reward.source, made.reward.scaling.kind) == ("true", "root-mean-square")
        imitation = made.method if agent == "dt" else made.method.imitation
        assert imitation.return_scale is None


def test_dppo_learns_its_predictor_first():
    dppo = make_fit_config("data", "dppo", facts(), preset="paper")
    assert (dppo.method.predictor_updates, dppo.steps) == (20_000, 1_020_000)
    assert (dppo.method.bias, dppo.method.temperature, dppo.method.policy.dropout) == (
        0.5,
        0.1,
        0.25,
    )
    assert (dppo.method.segment_steps, dppo.method.num_windows) == (100, 256)
    assert not dppo.method.predictor.attention
    adroit = make_fit_config("data", "dppo", facts("pen-human-v1"), preset="dppo")
    assert adroit.method.bias == 0.1


def test_variants_of_cpl_keep_its_schedule():
    kl = make_fit_config("data", "cpl-kl", METAWORLD, preset="paper")
    assert (kl.steps, kl.method.pretraining_updates) == (500_000, 200_000)
    assert (kl.method.score.scale, kl.method.loss.bias) == (0.2, 0.75)
    assert make_fit_config("data", "dpo", facts()).method.policy.hidden_sizes == (256, 256)


def test_alpha_of_the_small_cpl_fits_the_length_of_the_segments():
    scale = make_fit_config("data", "cpl", facts(segment_steps=16)).method.score.scale
    assert scale * 16 == pytest.approx(6.4)


def test_labels_are_held_out_where_there_is_no_environment():
    assert make_fit_config("data", "cpl", METAWORLD).held_out_share == 0.1
    assert make_fit_config("data", "cpl", facts()).held_out_share == 0.0
    without = facts("point-mass", "npz", None, num_labels=0, segment_steps=None)
    assert make_fit_config("data", "bc", without).held_out_share == 0.0


def test_what_has_no_numbers_says_who_has():
    with pytest.raises(ValueError, match="'cpl' has no numbers for cpl on hopper.* Meta-World"):
        make_fit_config("data", "cpl", facts(), preset="cpl")
    with pytest.raises(ValueError, match="for iql, p-iql-joint and ipl; take --preset cpu"):
        make_fit_config("data", "sft", facts(), preset="ipl")
    with pytest.raises(ValueError, match="for iql, p-iql and"):
        make_fit_config("data", "bc", facts(), preset="pt")
    with pytest.raises(ValueError, match="only for mujoco, antmaze"):
        make_fit_config("data", "iql", facts("kitchen-mixed-v0"), preset="pt")
    with pytest.raises(ValueError, match="unknown offline agent 'cql'; did you mean"):
        make_fit_config("data", "cql", facts())
    for preset, known in (("oppo", "for oppo"), ("dtr", "for dt, pb-dt"), ("dppo", "for dppo")):
        with pytest.raises(ValueError, match=known):
            make_fit_config("data", "bc", facts(), preset=preset)
        agent = "dtr" if preset == "dtr" else preset
        with pytest.raises(ValueError, match="only for mujoco"):
            make_fit_config("data", agent, facts("point-mass", "npz", None), preset=preset)
    assert "paper" in PRESETS


def test_hindsight_prior_has_wiserl_s_numbers():
    made = make_fit_config("data", "hindsight-prior", facts(), preset="paper")
    learning = made.reward.learning
    assert (learning.hindsight.weight, learning.hindsight.detach) == (1_000, False)
    assert (learning.batch_size, learning.num_steps(500)) == (8, 50_000)
    world = learning.hindsight.world
    assert (world.transformer.width, world.transformer.num_layers) == (256, 3)
    assert (world.max_steps, world.batch_size, world.initial_updates) == (100, 64, 10_000)
    assert made.reward.network.output == "sigmoid"
    assert (made.method.expectile, made.steps, made.method.policy_decay_updates) == (
        0.7, 1_000_000, None,
    )  # fmt: skip
    for number in (2_500, 0):  # scored segments, and labels made as they are asked for
        known = replace(METAWORLD, num_labels=number)
        reward = make_fit_config("data", "hindsight-prior", known, preset="wiserl").reward
        assert reward.learning.num_steps(reward.num_pairs) == 50_000
    other = make_fit_config("data", "hindsight-prior", METAWORLD, preset="wiserl")
    assert (other.method.expectile, other.steps, other.eval_episodes) == (0.75, 500_000, 20)
    assert other.reward.learning.hindsight.world.max_steps == 64  # longer segments than WiseRL's
    small = make_fit_config("data", "hindsight-prior", facts(segment_steps=200))
    assert small.reward.learning.hindsight.world.max_steps == 200
    with pytest.raises(ValueError, match="for hindsight-prior"):
        make_fit_config("data", "p-iql", facts(), preset="wiserl")
    with pytest.raises(ValueError, match="only for mujoco and metaworld"):
        make_fit_config("data", "hindsight-prior", facts("pen-human-v1"), preset="wiserl")


def test_pearl_learns_a_gaussian_reward_and_has_no_numbers_of_its_own():
    made = make_fit_config("data", "pearl", facts())
    assert made.reward.model == "gaussian"
    assert made.method == make_fit_config("data", "p-iql", facts()).method
    with pytest.raises(ValueError, match="'paper' has no numbers for pearl"):
        make_fit_config("data", "pearl", facts(), preset="paper")


@pytest.mark.parametrize("agent", ["p-iql", "preference-transformer"])
@pytest.mark.parametrize("number", [0, 60, 2_500])
def test_rewards_learn_in_as_many_steps_from_scored_segments_as_from_pairs(agent, number):
    scored = replace(METAWORLD, num_labels=number, draws_pairs=True)
    rewards = [
        make_fit_config("data", agent, known, preset="cpu").reward
        for known in (scored, replace(METAWORLD, num_labels=2_000))
    ]
    drawn, given = (reward.learning.num_steps(reward.num_pairs) for reward in rewards)
    assert drawn == given
    assert 600 < drawn < 1_600
