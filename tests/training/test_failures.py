"""Runs that fail: the folder stays consistent, and nothing learned or labelled is lost."""

import csv
import errno
from dataclasses import replace

import pytest
import torch

from pbrl.envs import EnvironmentFault
from pbrl.feedback import FeedbackStore
from pbrl.offline.labels import load_pairs
from pbrl.training import checkpoint, runner
from pbrl.training.checkpoint import has_checkpoint, load_checkpoint
from pbrl.training.fit import fit
from pbrl.training.run import train, train_seeds
from pbrl.training.salvage import DivergedError, check_agent
from pbrl.training.scoring import EnvironmentScorer

from .point_mass import make_data
from .test_fit import quick


@pytest.fixture
def short_config(tiny_config):
    """A session and an evaluation at each of the steps 100 and 200."""
    preferences = tiny_config.preferences
    learning = replace(preferences.learning, passes=5)
    return replace(
        tiny_config,
        steps=240,
        eval_every=100,
        eval_episodes=1,
        log_every=20,
        checkpoint_every=1_000,
        updates_per_step=0.2,
        preferences=replace(preferences, learning=learning),
    )


@pytest.fixture
def failing_evaluation(monkeypatch):
    """Let the given evaluations of all that follow fail, counted from 1."""

    def install(*numbers):
        counted = []

        def score(self):
            counted.append(1)
            if len(counted) in numbers:
                raise EnvironmentFault("the evaluation returned reward nan")
            return before(self)

        before = EnvironmentScorer.__call__
        monkeypatch.setattr(EnvironmentScorer, "__call__", score)

    return install


def saved(folder):
    return load_checkpoint(folder / "checkpoint", None)


def checkpoints(folder):
    return sorted(path.name for path in (folder / "checkpoint").iterdir())


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.many_updates
def test_a_failing_evaluation_loses_no_session_and_is_made_again(
    short_config, tmp_path, failing_evaluation
):
    whole = train(short_config, tmp_path / "whole")
    failing_evaluation(2)
    with pytest.raises(EnvironmentFault, match="nan") as caught:
        train(short_config, tmp_path / "run")
    assert "step-000000200: --resume goes on" in caught.value.__notes__[-1]
    state, step = saved(tmp_path / "run")
    assert step == 200
    assert len(state["loop"]["source"]["feedback"]["labels"]) == 40
    assert [int(row["step"]) for row in rows(tmp_path / "run")][-1] == 180
    resumed = train(short_config, tmp_path / "run", resume=True)
    assert resumed.curve[:2] == whole.curve[:2]
    for name, points in whole.measures.items():
        assert resumed.measures[name][:2] == points[:2]
    assert rows(tmp_path / "run")[:10] == rows(tmp_path / "whole")[:10]
    assert [int(row["step"]) for row in rows(tmp_path / "run")] == list(range(20, 241, 20))


@pytest.mark.many_updates
def test_seeds_together_lose_no_session_by_an_evaluation(
    short_config, tmp_path, failing_evaluation
):
    folders = {seed: tmp_path / str(seed) for seed in (0, 1)}
    failing_evaluation(4)  # of the second seed, at step 200
    with pytest.raises(EnvironmentFault):
        train_seeds(short_config, folders)
    for folder in folders.values():
        assert (saved(folder)[1], saved(folder)[0]["loop"]["num_sessions"]) == (200, 2)
    results = train_seeds(short_config, folders, resume=True)
    assert [[step for step, _, _ in one.curve] for one in results] == [[100, 200, 240]] * 2
    for folder in folders.values():
        assert [int(row["step"]) for row in rows(folder)] == list(range(20, 241, 20))


def test_offline_what_was_learned_before_a_failing_evaluation_is_gone_on_with_exactly(
    tmp_path, failing_evaluation
):
    config = quick("p-iql")
    whole = fit(config, tmp_path / "whole", data=make_data(num_pairs=40))
    failing_evaluation(2)
    with pytest.raises(EnvironmentFault):
        fit(config, tmp_path / "run", data=make_data(num_pairs=40))
    assert saved(tmp_path / "run")[1] == whole.curve[1][0]
    resumed = fit(config, tmp_path / "run", data=make_data(num_pairs=40), resume=True)
    assert resumed.curve == whole.curve
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")
    agents = [saved(tmp_path / name)[0]["loop"]["agent"] for name in ("run", "whole")]
    torch.testing.assert_close(*agents, rtol=0, atol=0)


def test_an_agent_that_diverges_leaves_the_good_checkpoint(short_config, tmp_path):
    steep = replace(short_config.sac, actor_lr=1e38)
    preferences = replace(short_config.preferences, warm_up_updates=0)
    config = replace(short_config, sac=steep, seed_steps=110, preferences=preferences)
    for resume in (False, True, True):
        with pytest.raises(ValueError, match="not a number") as caught:
            train(config, tmp_path / "run", resume=resume)
        notes = "\n".join(caught.value.__notes__)
        assert "the agent has diverged" in notes
        assert "goes on from" in notes
        assert "smaller learning rate" in notes
        assert checkpoints(tmp_path / "run") == ["step-000000100.1"]
    assert not list((tmp_path / "run").glob("*.npz"))  # the checkpoint holds all labels


def test_labels_of_an_agent_that_diverges_with_the_session_are_kept(
    short_config, tmp_path, monkeypatch
):
    def broken(loop, state):
        if loop.num_sessions == 2:
            raise DivergedError("the agent has diverged: actor/weight is not finite")

    monkeypatch.setattr("pbrl.training.run_checkpoints.check_agent", broken)
    with pytest.raises(DivergedError, match="actor/weight") as caught:
        train(short_config, tmp_path / "run")
    assert saved(tmp_path / "run")[1] == 100
    assert len(caught.value.__notes__) == 2
    assert FeedbackStore.load(tmp_path / "run" / "feedback-000000200.npz").num_labelled == 40
    dataset, pairs = load_pairs(tmp_path / "run" / "labels-000000200.npz")
    assert dataset.observation_dim == 2
    assert len(pairs.labelled) == 40


def test_what_is_not_finite_in_an_agent_is_named_and_optimisers_may_overflow():
    moments = {"state": {0: {"exp_avg_sq": torch.tensor([torch.inf])}}, "param_groups": []}
    agent = {"actor": {"weight": torch.ones(2)}, "actor_optimizer": moments, "num_updates": 3}
    check_agent(None, {"agent": agent})
    agent["actor"]["weight"][1] = torch.nan
    with pytest.raises(DivergedError, match="actor/weight is not finite"):
        check_agent(None, {"agent": agent})


def full_disk(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_where_no_checkpoint_fits_the_labels_may(short_config, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "save_file", full_disk)
    with pytest.raises(OSError, match="the disk is full") as caught:
        train(short_config, tmp_path / "run")
    (note,) = caught.value.__notes__
    assert note.startswith("Its 20 labels are kept in ")
    assert not has_checkpoint(tmp_path / "run" / "checkpoint")
    _, pairs = load_pairs(tmp_path / "run" / "labels-000000100.npz")
    assert len(pairs.labelled) == 20
    with pytest.raises(OSError, match="the disk is full"):
        train(short_config, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "labels-000000100.1.npz").exists()  # beside the first
    monkeypatch.undo()
    assert train(short_config, tmp_path / "run", resume=True).labels_given == 40


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("pbrl.training.salvage.save_pairs", "without their segments: No space left on device"),
        ("pbrl.feedback.write_record", "could not be kept either: No space left on device"),
    ],
)
def test_the_message_says_what_fitted(short_config, tmp_path, monkeypatch, broken, words):
    monkeypatch.setattr(checkpoint, "save_file", full_disk)
    monkeypatch.setattr(broken, full_disk)
    with pytest.raises(OSError, match="the disk is full") as caught:
        train(short_config, tmp_path / "run")
    assert words in caught.value.__notes__[0]


def test_a_kill_during_an_evaluation_loses_no_session(short_config, tmp_path, monkeypatch):
    class Killed(BaseException):
        """Nobody saves after it."""

    def score(self):
        raise Killed

    monkeypatch.setattr(EnvironmentScorer, "__call__", score)
    with pytest.raises(Killed):
        train(short_config, tmp_path / "run")
    monkeypatch.undo()
    assert len(saved(tmp_path / "run")[0]["loop"]["source"]["feedback"]["labels"]) == 20
    assert [step for step, _, _ in train(short_config, tmp_path / "run", resume=True).curve] == [
        100,
        200,
        240,
    ]


def test_a_row_that_cannot_be_written_is_written_once_after_a_resume(
    short_config, tmp_path, monkeypatch
):
    def write(self, step, values):
        if step == 200:
            full_disk()
        before(self, step, values)

    before = runner.MetricsLog.write
    monkeypatch.setattr(runner.MetricsLog, "write", write)
    with pytest.raises(OSError, match="No space left"):
        train(short_config, tmp_path / "run")
    monkeypatch.undo()
    result = train(short_config, tmp_path / "run", resume=True)
    assert [step for step, _, _ in result.curve] == [100, 200, 240]
    assert [int(row["step"]) for row in rows(tmp_path / "run")] == list(range(20, 241, 20))
