import csv
import signal
from dataclasses import replace

import pytest
import torch

from pbrl.agents.dt import DTConfig
from pbrl.training.checkpoint import load_checkpoint
from pbrl.training.fit import fit, fit_seeds
from pbrl.training.presets import make_config
from pbrl.training.result import Result
from pbrl.training.run import Interrupted, train, train_seeds
from pbrl.training.seed_runs import SeedRuns
from tests.training.point_mass import make_data
from tests.training.test_fit import quick

SEEDS = (0, 3, 5)


def folders(path, seeds=SEEDS):
    return {seed: path / f"seed-{seed}" for seed in seeds}


def close(found, expected) -> None:
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-4)


def final_state(folder):
    return load_checkpoint(folder / "checkpoint", None)[0]["loop"]


def last_row(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))[-1]


@pytest.mark.parametrize("agent", ["p-iql", "sft"])
def test_offline_seeds_together_come_to_what_they_come_to_alone(agent, tmp_path):
    made = quick(agent, held_out_share=0.1)
    data = make_data(num_pairs=40)
    together = fit_seeds(made, folders(tmp_path / "together"), data=data)
    for seed, result in zip(SEEDS, together, strict=True):
        alone = fit(replace(made, seed=seed), tmp_path / f"{seed}", data=make_data(num_pairs=40))
        assert result.seed == seed
        assert (result.seeds_together, alone.seeds_together) == (3, 1)
        assert result == Result.load(tmp_path / "together" / f"seed-{seed}" / "result.json")
        close(result.curve, alone.curve)
        close(result.measures, alone.measures)
        found, expected = (
            final_state(tmp_path / "together" / f"seed-{seed}"),
            final_state(tmp_path / f"{seed}"),
        )
        close(found["agent"], expected["agent"])
        if agent == "p-iql":
            close(found["stage"]["model"], expected["stage"]["model"])
        assert (
            last_row(tmp_path / "together" / f"seed-{seed}").keys()
            == last_row(tmp_path / f"{seed}").keys()
        )
    assert together[0].curve != together[1].curve


@pytest.mark.many_updates
def test_online_seeds_together_come_to_what_they_come_to_alone(tiny_config, tmp_path):
    short = replace(tiny_config, steps=180, log_every=30, checkpoint_every=60)
    together = train_seeds(short, folders(tmp_path / "together"))
    for seed, result in zip(SEEDS, together, strict=True):
        alone = train(replace(short, seed=seed), tmp_path / f"{seed}")
        assert (result.labels_given, alone.labels_given) == (20, 20)
        close(result.curve, alone.curve)
        found, expected = (
            final_state(path)
            for path in (tmp_path / "together" / f"seed-{seed}", tmp_path / f"{seed}")
        )
        for state in (found, expected):
            state["learner"] = state["source"]["learner"]
        for part in ("agent", "replay", "learner", "intrinsic"):
            close(found[part], expected[part])
        assert found["num_updates"] == expected["num_updates"] == 130


class Stop(Exception):
    """Stands for a kill."""


def test_seeds_that_were_killed_at_different_places_meet_again(tmp_path, monkeypatch):
    made, data = quick(held_out_share=0.1), make_data(num_pairs=40)
    whole = fit_seeds(made, folders(tmp_path / "whole"), data=data)

    def killed(self):
        if self.runs[0].loop.step == 35:
            raise Stop
        before(self)

    before = SeedRuns._advance
    monkeypatch.setattr(SeedRuns, "_advance", killed)
    parts = folders(tmp_path / "parts")
    with pytest.raises(Stop):
        fit_seeds(made, parts, data=make_data(num_pairs=40))
    monkeypatch.setattr(SeedRuns, "_advance", before)
    assert final_state(parts[3])["step"] == 20
    newest = max((parts[3] / "checkpoint").iterdir())
    for path in sorted(newest.rglob("*"), reverse=True):  # as if the kill had come earlier for one
        path.unlink() if path.is_file() else path.rmdir()
    newest.rmdir()
    assert final_state(parts[3])["step"] == 0
    resumed = fit_seeds(made, parts, data=make_data(num_pairs=40), resume=True)
    for one, other in zip(resumed, whole, strict=True):
        close(one.curve, other.curve)
    for seed, folder in parts.items():
        close(
            final_state(folder)["agent"], final_state(tmp_path / "whole" / f"seed-{seed}")["agent"]
        )


def test_ctrl_c_saves_every_seed(tiny_config, tmp_path, monkeypatch):
    short = replace(tiny_config, steps=100, preferences=None)
    before = SeedRuns._advance

    def interrupted(self):
        before(self)
        if self.runs[0].loop.step == 77:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(SeedRuns, "_advance", interrupted)
    with pytest.raises(Interrupted, match="step 77"):
        train_seeds(short, folders(tmp_path))
    assert [final_state(folder)["step"] for folder in folders(tmp_path).values()] == [77] * 3
    monkeypatch.setattr(SeedRuns, "_advance", before)
    results = train_seeds(short, folders(tmp_path), resume=True)
    assert [result.steps for result in results] == [100] * 3


def test_methods_without_an_axis_of_seeds_are_refused_at_once(tmp_path):
    made = replace(quick("p-iql"), agent="pb-dt", method=DTConfig())
    with pytest.raises(ValueError, match="DecisionTransformer takes no axis of seeds"):
        fit_seeds(made, folders(tmp_path), data=make_data())
    images = make_config("dmc/cartpole-swingup", "drqv2")
    with pytest.raises(ValueError, match="DrQv2 takes no axis of seeds"):
        train_seeds(images, folders(tmp_path))
    assert not any(tmp_path.iterdir())
