import importlib
from pathlib import Path

import numpy as np
import pytest

from pbrl.envs.four_goals import ENV_ID, GOALS, STEPS
from pbrl.training.fit_config import DataConfig
from pbrl.training.fit_data import load_data

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("make_sequence_data")


def test_episodes_head_for_the_goals_in_turn(script):
    episodes = script.heading(8, np.random.default_rng(0))
    for number, episode in enumerate(episodes):
        assert len(episode) == STEPS
        assert np.abs(episode.actions).max() <= 1
        last = episode.observations[-1]
        assert np.linalg.norm(last - GOALS[number % 4]) < 0.2
        moves = 0.1 * episode.actions
        np.testing.assert_allclose(np.diff(episode.observations, axis=0), moves, atol=1e-6)
    near, far = episodes[0].rewards.sum(), episodes[1].rewards.sum()
    assert near > -9
    assert far < -60


def test_the_point_mass_is_written_once_with_its_labels_and_references(script, tmp_path, capsys):
    words = ["--tasks", "four-goals", "--root", str(tmp_path), "--episodes", "8"]
    script.main([*words, "--goal-pairs", "12"])
    folder = tmp_path / "sequence" / "four-goals-v0"
    data = load_data(str(folder), str(folder / script.LABELS), DataConfig(), "cpu")
    assert data.dataset.info.env == ENV_ID
    assert (data.dataset.info.reference.random, data.dataset.info.reference.expert) == (
        -50.4,
        -5.59,
    )
    assert (data.num_labels, int(data.preferences.segments.length.max())) == (12, 15)
    assert "| four-goals-v0 | 8        | 400" in capsys.readouterr().out
    written = (folder / script.LABELS).stat().st_mtime_ns
    script.main(words)
    assert (folder / script.LABELS).stat().st_mtime_ns == written


def test_locomotion_comes_from_one_training_and_shares_its_references(
    script, tmp_path, monkeypatch
):
    monkeypatch.setattr(script, "LOCOMOTION", {"hopper": "Hopper-v5"})
    real = script.make_config

    def small(env, agent, **options):
        config = real(env, agent, **options)
        sac = script.replace(config.sac, hidden_sizes=(8,))
        return script.replace(
            config, sac=sac, seed_steps=50, eval_every=200, eval_episodes=1, batch_size=8
        )

    monkeypatch.setattr(script, "make_config", small)
    sizes = script.Sizes(
        training_steps=400, expert_steps=60, pairs=3, segment_steps=5, reference_episodes=2
    )
    expert, replay = script.locomotion("hopper", tmp_path, tmp_path / "runs", sizes, 0)
    infos = [
        load_data(str(one), str(one / script.LABELS), DataConfig(), "cpu").dataset
        for one in (expert, replay)
    ]
    assert infos[0].info.reference == infos[1].info.reference
    assert [one.info.env for one in infos] == ["gym/Hopper-v5"] * 2
    assert infos[1].replay.num_steps >= 200
    assert infos[0].replay.num_steps >= 120
    rows = [script.describe(one) for one in (expert, replay)]
    assert rows[0][3].count("/") == 1
    assert rows[1][-1] == "3 (0)"
