import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
import torch

from pbrl.envs import EnvironmentFault
from pbrl.queries import CallableTeacher
from pbrl.training.checkpoint import CheckpointMismatchError, load_checkpoint
from pbrl.training.config import EnvironmentConfig
from pbrl.training.files import write_json
from pbrl.training.presets import make_config
from pbrl.training.result import Result
from pbrl.training.run import Interrupted, build_parts, load_agent, load_policy, train, train_seeds

from .conftest import Follow


@pytest.fixture(autouse=True)
def _healthy():
    Follow.faulty_at = None
    yield
    Follow.faulty_at = None


def oracle(segments):
    returns = segments.true_returns()
    return (returns[:, 1] > returns[:, 0]).float()


@pytest.mark.many_updates
def test_a_run_leaves_everything_behind(tiny_config, tmp_path):
    result = train(tiny_config, tmp_path / "run")
    assert result == Result.load(tmp_path / "run" / "result.json")
    assert result.labels_asked == result.labels_given == 60
    assert [step for step, _, _ in result.curve] == [200, 400, 600, 800]
    assert result.score == pytest.approx(sum(s for _, s, _ in result.curve[-3:]) / 3)
    assert 5 < result.random_score < 9
    assert result.environment["id"] == "gym/Follow-v0"
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == [str(step) for step in range(100, 801, 100)]
    assert rows[-1]["labels/asked"] == "60"
    assert set(result.measures) == {"reward/correlation", "reward/segment_correlation"}
    for name, points in result.measures.items():
        assert [step for step, _ in points] == [200, 400, 600, 800]
        assert points[-1][1] == pytest.approx(float(rows[-1][name]))
    act, config = load_policy(tmp_path / "run")
    assert config == tiny_config
    assert act(torch.zeros(3, 2)).shape == (3, 1)
    older, _ = sorted((tmp_path / "run" / "checkpoint").iterdir())
    agents = [load_agent(path)[0] for path in (older, tmp_path / "run")]
    assert agents[0].num_updates < agents[1].num_updates


def test_the_learned_reward_is_not_measured_on_the_segments_that_were_asked_about(
    tiny_config, monkeypatch
):
    loop, scorer = build_parts(tiny_config, teacher=None, resumes=0)
    while loop.num_sessions == 0:
        loop.advance()
    asked = loop.source.feedback.labelled().index.reshape(-1)
    drawn = []
    draw = loop.replay.sample_segments

    def sample_segments(*arguments):
        drawn.append(draw(*arguments))
        return drawn[-1]

    monkeypatch.setattr(loop.replay, "sample_segments", sample_segments)
    assert "reward/correlation" in scorer().metrics
    (measured,) = drawn
    assert not torch.equal(measured.start[: len(asked)], asked.start)


def test_a_finished_run_is_not_overwritten(tiny_config, tmp_path):
    config = replace(tiny_config, steps=60, preferences=None)
    train(config, tmp_path / "run")
    with pytest.raises(FileExistsError, match="resume"):
        train(config, tmp_path / "run")


def no_wandb(*arguments):
    raise ImportError("no wandb")


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"device": "cuda:99"}, "cuda:99"),
        ({"env": "gym/CartPole-v1"}, "only continuous actions"),
        ({"environment": EnvironmentConfig(backend="rollout")}, "backend must be"),
        ({"steps": 80}, "first_step"),
        ({}, "no wandb"),
    ],
)
def test_a_refused_run_leaves_its_folder_free(tiny_config, tmp_path, monkeypatch, change, refusal):
    monkeypatch.setattr("pbrl.training.metrics._start_wandb", no_wandb)
    with pytest.raises((ValueError, ImportError), match=refusal):
        train(replace(tiny_config, **change), tmp_path / "run", wandb=True)
    config = replace(tiny_config, steps=20, eval_every=20, eval_episodes=1, preferences=None)
    assert train(config, tmp_path / "run").steps == 20


def test_seeds_of_which_one_is_refused_leave_their_folders_free(tiny_config, tmp_path):
    config = replace(tiny_config, steps=20, eval_every=20, eval_episodes=1, preferences=None)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot write"):
        train_seeds(config, {0: tmp_path / "0", 1: tmp_path / "file" / "1"})
    assert train(config, tmp_path / "0").steps == 20


def test_resume_with_another_configuration_is_refused(tiny_config, tmp_path):
    config = replace(tiny_config, steps=60, preferences=None)
    train(config, tmp_path / "run")
    with pytest.raises((CheckpointMismatchError, ValueError), match="batch_size"):
        train(replace(config, batch_size=32), tmp_path / "run", resume=True)


@pytest.mark.many_updates
def test_a_nan_reward_stops_the_run_and_loses_nothing(tiny_config, tmp_path):
    Follow.num_steps, Follow.faulty_at = 0, 700  # evaluations count too
    with pytest.raises(EnvironmentFault, match="reward"):
        train(tiny_config, tmp_path / "run")
    state, step = load_checkpoint(tmp_path / "run" / "checkpoint", None)
    assert step > 100
    assert len(state["loop"]["source"]["feedback"]["labels"]) >= 20
    Follow.faulty_at = None
    assert train(tiny_config, tmp_path / "run", resume=True).labels_given == 60


@pytest.mark.many_updates
def test_a_teacher_who_fails_stops_the_run_and_is_asked_again(tiny_config, tmp_path):
    calls = []

    def unreliable(segments):
        calls.append(len(segments))
        return [0.5] * (3 if len(calls) == 2 else len(segments))

    with pytest.raises(ValueError, match="label"):
        train(tiny_config, tmp_path / "run", teacher=CallableTeacher(unreliable))
    _, step = load_checkpoint(tmp_path / "run" / "checkpoint", None)
    assert step == 200
    result = train(tiny_config, tmp_path / "run", resume=True, teacher=CallableTeacher(oracle))
    assert (result.labels_asked, result.labels_given) == (60, 60)


def test_a_budget_below_a_session_is_refused_before_any_work(tiny_config):
    with pytest.raises(ValueError, match="budget"):
        replace(tiny_config.preferences.schedule, budget=10)


def test_ctrl_c_writes_a_checkpoint(tiny_config, tmp_path):
    config = replace(tiny_config, steps=1_000_000, preferences=None)
    timer = threading.Timer(3.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(Interrupted, match="--resume"):
        train(config, tmp_path / "run")
    _, step = load_checkpoint(tmp_path / "run" / "checkpoint", None)
    assert step > 0


def test_a_run_without_a_checkpoint_begins_anew_and_says_so(tiny_config, tmp_path, capsys):
    """One that was killed before its first; a suite calls it again with --resume."""
    config = replace(tiny_config, steps=60, eval_every=60, preferences=None)
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / "config.json", config)
    assert train(config, tmp_path / "run", resume=True).steps == 60
    said = f"there is no checkpoint in {tmp_path / 'run' / 'checkpoint'}: the run begins at step 0"
    assert said in capsys.readouterr().err
    (tmp_path / "run" / "result.json").unlink()
    train(config, tmp_path / "run", resume=True)
    assert "there is no checkpoint" not in capsys.readouterr().err


def test_kill_9_at_any_moment_and_resume(tmp_path):
    out = tmp_path / "run"
    words = [
        sys.executable, "-m", "pbrl.cli", "train", "gym/Pendulum-v1", "--out", str(out),
        "--steps", "2500", "--eval-every", "1250", "--eval-episodes", "2", "--batch-size", "32",
        "--checkpoint-every", "200", "--sac.hidden-sizes", "32", "32", "--log-every", "100",
        "--preferences.schedule.first-step", "600", "--preferences.schedule.interval", "300",
        "--preferences.schedule.budget", "20", "--preferences.schedule.session-size", "5",
        "--seed-steps", "100", "--preferences.learning.steps-per-label", "50",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(out.glob("checkpoint/step-*")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, before = load_checkpoint(out / "checkpoint", None)
    assert not (out / "result.json").exists()
    done = subprocess.run(
        [*words, "--resume"], env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((out / "result.json").read_text())
    assert result["steps"] == 2500 > before
    assert result["labels_given"] == 20
    with (out / "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == sorted(set(steps))
    assert steps[-1] == 2500


def test_a_foreign_checkpoint_is_refused(tiny_config, tmp_path):
    config = replace(tiny_config, steps=60, preferences=None)
    train(config, tmp_path / "run")
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    stored["steps"] = 120
    (tmp_path / "run" / "config.json").write_text(json.dumps(stored))
    with pytest.raises(CheckpointMismatchError, match="steps"):
        train(replace(config, steps=120), tmp_path / "run", resume=True)


def test_the_tiny_preset_of_every_agent_can_be_built():
    for agent in ("sac", "pebble", "qpa"):
        assert make_config("gym/Pendulum-v1", agent).agent == agent
