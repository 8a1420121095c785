"""Runs of the methods that read sequences: from data to a result, stopped and gone on with."""

from dataclasses import replace

import pytest
import torch

from pbrl.agents.learning_rates import RateSchedule
from pbrl.feedback import LabelledQueries
from pbrl.offline.foresight import ForesightPreferences
from pbrl.pairs import LabelledPairs, ScoredSegments
from pbrl.reward_scaling import RewardScalingConfig
from pbrl.training import reward_stage
from pbrl.training.checkpoint import load_checkpoint
from pbrl.training.fit import fit
from pbrl.training.fit_data import Data
from pbrl.training.offline import OfflineLoop
from pbrl.training.offline_presets import make_fit_config
from pbrl.transformer import TransformerConfig
from tests.training.point_mass import make_data, make_dataset
from tests.training.test_fit import assert_equal

AGENTS = ("oppo", "dt", "pb-dt", "pb-qt", "dtr", "dppo", "preference-transformer")
TINY = {"width": 8, "num_layers": 1, "num_heads": 1}
RATE = RateSchedule(peak=1e-3)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(reward_stage, "PART_STEPS", 4)


def small(transformer):
    return replace(transformer, **TINY)


def small_policy(policy):
    return replace(policy, context=5, transformer=small(policy.transformer))


def small_dt(config):
    return replace(config, policy=small_policy(config.policy), batch_size=8, rate=RATE)


def shrunk(agent, method):
    """The method with networks of no size."""
    match agent:
        case "oppo":
            return replace(
                method, policy=small_policy(method.policy), encoder=small(method.encoder),
                num_pairs=4, windows=8, segment_steps=5, num_nearest=2, num_recent=16,
                policy_rate=RATE, encoder_rate=RATE,
            )  # fmt: skip
        case "dt" | "pb-dt":
            return small_dt(method)
        case "pb-qt" | "dtr":
            return replace(
                method, imitation=small_dt(method.imitation), critic_hidden_sizes=(8,),
                critic_rate=RATE, slow_start=2, slow_every=2,
            )  # fmt: skip
        case "dppo":
            predictor = replace(method.predictor, transformer=small(method.predictor.transformer))
            return replace(
                method, predictor=predictor, predictor_updates=6, num_pairs=4, num_windows=6,
                smoothness=1.0, shift_std=2.0, policy=replace(method.policy, hidden_sizes=(8,)),
            )  # fmt: skip
        case _:
            policy = replace(method.policy, hidden_sizes=(8,))
            return replace(method, policy=policy, hidden_sizes=(8,), batch_size=16)


def config(agent, data, **changes):
    """A run of a second, made from the preset for two cores."""
    made = make_fit_config("point-mass", agent, data.facts())
    reward = made.reward
    if reward is not None:
        reward = replace(
            reward,
            network=replace(reward.network, hidden_sizes=(8,)),
            learning=replace(reward.learning, passes=3, batch_size=16),
            transformer=replace(reward.transformer, transformer=TransformerConfig(**TINY)),
        )
    given = {
        "method": shrunk(agent, made.method),
        "reward": reward,
        "steps": 12,
        "eval_every": 6,
        "eval_episodes": 2,
        "checkpoint_every": 5,
        "log_every": 6,
    }
    return replace(made, **(given | changes))


def data(**changes):
    return make_data(num_pairs=40, **changes)


@pytest.mark.parametrize("agent", AGENTS)
def test_stopped_and_resumed_it_is_bit_for_bit_the_uninterrupted_run(agent, tmp_path, monkeypatch):
    whole = fit(config(agent, data()), tmp_path / "whole", data=data())
    assert (whole.agent, whole.score_name) == (agent, "normalized_return")
    assert whole.oracle_score is None
    advance = OfflineLoop.advance

    class Killed(BaseException):
        pass

    def dying(self):
        if self.step == 8:
            raise Killed
        advance(self)

    monkeypatch.setattr(OfflineLoop, "advance", dying)
    with pytest.raises(Killed):
        fit(config(agent, data()), tmp_path / "parts", data=data())
    monkeypatch.setattr(OfflineLoop, "advance", advance)
    again = fit(config(agent, data()), tmp_path / "parts", data=data(), resume=True)
    first, second = (
        load_checkpoint(tmp_path / name / "checkpoint", None)[0] for name in ("whole", "parts")
    )
    assert_equal(first["loop"], second["loop"])
    assert whole.curve == again.curve


def test_oppo_learns_from_fresh_labels_as_its_program_does(tmp_path):
    dataset = make_dataset(20)
    endless = Data(dataset, ForesightPreferences(dataset.replay, steps=5, foresee=20))
    made = config("oppo", endless)
    scripted = replace(made.method, windows=0, reconstruct_pairs=True, pooling="sum-all")
    result = fit(replace(made, method=scripted), tmp_path / "run", data=endless)
    assert result.labels_given == 0  # there is no number of them
    with pytest.raises(TypeError, match="cannot spoil preferences of the type Foresight"):
        fit(replace(made, control="flipped-labels"), tmp_path / "spoilt", data=endless)


def test_without_an_environment_codes_are_judged_by_labels_held_out(tmp_path):
    given = data(env=None)
    result = fit(config("oppo", given), tmp_path / "run", data=given)
    assert result.score_name == "label_accuracy"
    assert 0 <= result.score <= 1
    alone = Data(make_dataset(20, env=None))
    with pytest.raises(ValueError, match="DecisionTransformer has no density to be scored by"):
        fit(config("dt", alone), tmp_path / "dt", data=alone)


def test_labels_on_steps_without_a_place_are_refused_before_any_learning(tmp_path):
    folder, given = tmp_path / "run", make_data(num_pairs=40, length=30)
    made = config("dppo", given)
    predictor = replace(made.method.predictor, num_timesteps=10)
    method = replace(made.method, predictor=predictor, segment_steps=10)
    with pytest.raises(ValueError, match="segments have up to 30 steps, and num_timesteps is 10"):
        fit(replace(made, method=method), folder, data=given)
    predictor = replace(made.method.predictor, num_timesteps=60)
    method = replace(
        made.method, predictor=predictor, segment_steps=60, smoothness=0.0, shift_std=0.0
    )
    with pytest.raises(ValueError, match="windows of 60 steps are longer than every episode"):
        fit(replace(made, method=method), folder, data=given)  # its policy would draw them later
    endless = Data(given.dataset, ForesightPreferences(given.dataset.replay, steps=5))
    made = config("oppo", endless)
    policy = replace(made.method.policy, num_timesteps=25)
    method = replace(made.method, policy=policy, windows=0, reconstruct_pairs=True)
    with pytest.raises(
        ValueError, match="reach to step 50 of their episodes, and num_timesteps is"
    ):
        fit(replace(made, method=method), folder, data=endless)
    assert not folder.exists()


def test_the_true_reward_keeps_its_zero(tmp_path):
    given = data()
    fit(config("dt", given), tmp_path / "run", data=given)
    replay = given.dataset.replay
    unit = replay.all_true_rewards().square().mean().sqrt()
    torch.testing.assert_close(replay.all_rewards() * unit, replay.all_true_rewards())


def test_dtr_standardises_the_reward_of_a_transformer_too(tmp_path):
    given = data()
    made = config("dtr", given)
    reward = replace(made.reward, model="preference-transformer")
    fit(replace(made, reward=reward), tmp_path / "run", data=given)
    rewards = given.dataset.replay.all_rewards()
    assert rewards.mean().item() == pytest.approx(0.0, abs=1e-4)
    assert rewards.std(correction=0).item() == pytest.approx(1.0, abs=1e-4)


def test_data_that_do_not_fit_are_refused_before_any_learning(tmp_path):
    folder, given = tmp_path / "run", data()
    labelled = given.preferences.labelled
    ties = LabelledQueries(labelled.index, torch.full_like(labelled.labels, 0.5), labelled.weights)
    tied = Data(given.dataset, LabelledPairs(ties))
    with pytest.raises(ValueError, match="all 40 labels are ties: they prefer nothing"):
        fit(config("oppo", tied), folder, data=tied)
    half = torch.where(torch.arange(40) == 0, 1.0, 0.5)
    rest = LabelledPairs(LabelledQueries(labelled.index, half, labelled.weights))
    nearly = Data(given.dataset, rest)  # whichever side the one decided pair comes to
    with pytest.raises(ValueError, match="are (all )?ties"):
        fit(replace(config("oppo", nearly), held_out_share=0.5), folder, data=nearly)
    equal = ScoredSegments(given.preferences.segments, torch.ones(len(given.preferences.segments)))
    alike = Data(given.dataset, equal)
    with pytest.raises(ValueError, match="all 79 scored segments have the same score: they prefer"):
        fit(config("oppo", alike), folder, data=alike)
    long = config("pb-dt", given)
    policy = replace(long.method.policy, context=60)
    with pytest.raises(ValueError, match="windows of 60 steps are longer than every episode.* 50"):
        fit(replace(long, method=replace(long.method, policy=policy)), folder, data=given)
    with pytest.raises(ValueError, match="context must lie between 1 and the 1000 rows"):
        replace(policy, context=1_001)
    short = replace(policy, context=5, num_timesteps=40)
    with pytest.raises(ValueError, match="episodes of 50 steps, and num_timesteps is 40"):
        fit(replace(long, method=replace(long.method, policy=short)), folder, data=given)
    unpaid = Data(make_dataset(8))
    unpaid.dataset.replay.all_true_rewards().zero_()
    with pytest.raises(ValueError, match="point-mass holds no reward"):
        fit(config("dt", unpaid), folder, data=unpaid)
    unpaid.dataset.replay.all_true_rewards().fill_(1)
    alike = "rewards of all 400 steps are 1 in the scale .* the returns of all 8 episodes 50: "
    with pytest.raises(ValueError, match=alike):
        fit(config("dt", unpaid), folder, data=unpaid)
    made = config("dt", unpaid)
    z_scored = replace(made.reward, scaling=RewardScalingConfig(kind="z-score"))
    with pytest.raises(ValueError, match="all 400 steps of point-mass are 1: nothing is left"):
        fit(replace(made, reward=z_scored), folder, data=unpaid)
    with pytest.raises(ValueError, match="learns from labels: give a file"):
        fit(config("oppo", unpaid), folder, data=unpaid)
    with pytest.raises(ValueError, match="learns its reward from labels"):
        fit(config("dtr", unpaid), folder, data=unpaid)
    assert not folder.exists()
