import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pbrl.agents.sac import SACConfig
from pbrl.commands.dataset.report import write_report
from pbrl.offline.collect.sources import Source
from pbrl.offline.fqe import FQEConfig
from pbrl.offline.load import load_dataset
from pbrl.training.collect import collect
from pbrl.training.collect_config import CollectConfig
from pbrl.training.dataset_report import draw_returns, report_dataset, report_text
from pbrl.training.policy_report import PolicyReportConfig, policy_rows, report_policy
from pbrl.training.run import train

FQE = FQEConfig(hidden_sizes=(16,), updates=20, discount=0.9)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Twelve episodes of 20 random steps, with reference scores."""
    config = CollectConfig(
        env="gym/Pendulum-v1",
        sources=(Source(policy="random"),),
        episodes=12,
        max_episode_steps=20,
        random_return=-200.0,
        expert_return=-10.0,
    )
    return load_dataset(str(collect(config, tmp_path_factory.mktemp("data"), "pendulum-v0")))


def test_the_text_says_everything(dataset):
    text = report_text(report_dataset(dataset))
    for words in (
        "pendulum-v0 (minari), environment gym/Pendulum-v1",
        dataset.info.checksum,
        "12 episodes of 240 steps: 0 ended in a terminal state, 12 at the time limit",
        "normalised return",
        "states: 3 numbers",
        "actions: 1 numbers",
        "twice: 0 episodes",
        "| cpl",
    ):
        assert words in text
    assert text.count("#" * 30) >= 1  # the fullest bin of the histogram


def test_the_histogram_holds_every_episode(dataset):
    report = report_dataset(dataset)
    edges, counts = report.histogram
    assert (len(edges), sum(counts)) == (21, 12)
    assert edges[0] == pytest.approx(report.summary.returns.least)


def test_text_record_and_figure_are_written_alike_each_time(dataset, tmp_path):
    report = report_dataset(dataset)
    for folder in (tmp_path / "a", tmp_path / "b"):
        write_report(report, dataset, folder)
        record = json.loads((folder / "report.json").read_text())
        assert record["summary"]["num_episodes"] == 12
        assert record["fits"][0]["agent"] == "bc"
    first, second = ((tmp_path / name / "returns.svg").read_bytes() for name in "ab")
    assert first == second
    assert b"<svg" in first


def test_the_figure_shows_normalised_scores_where_they_are_known(dataset):
    left, right = draw_returns(dataset).axes[:2]
    assert left.get_xlabel() == "return of an episode"
    assert right.get_xlabel() == "steps of an episode"
    (scale,) = left.child_axes
    assert scale.get_xlabel() == "normalised return"
    bare = replace(dataset, info=replace(dataset.info, reference=None))
    assert draw_returns(bare).axes[0].child_axes == []


@pytest.fixture(scope="module")
def follower(tmp_path_factory, request):
    """A short run, and a dataset of its policy."""
    folder = tmp_path_factory.mktemp("follow")
    tiny_config = request.getfixturevalue("tiny_run")
    train(tiny_config, folder / "run")
    config = CollectConfig(
        env="gym/Follow-v0", sources=(Source(policy=str(folder / "run")),), episodes=4
    )
    return load_dataset(str(collect(config, folder, "follow-v0"))), folder / "run"


@pytest.fixture(scope="module")
def tiny_run():
    from pbrl.training.config import TrainConfig

    from . import conftest  # registers the environment

    return TrainConfig(
        env="gym/Follow-v0",
        agent="sac",
        steps=60,
        seed_steps=conftest.EPISODE_STEPS,
        sac=SACConfig(hidden_sizes=(16, 16)),
        eval_every=60,
        eval_episodes=1,
    )


def test_a_policy_is_compared_with_its_own_data(follower):
    dataset, run = follower
    done = []
    config = PolicyReportConfig(fqe=FQE, episodes=3)
    report = report_policy(dataset, run, config, on_update=done.append)
    assert done == list(range(1, 21))
    assert report.action_distance == pytest.approx(0.0, abs=1e-5)
    assert len(report.fitted_return.members) == 2
    assert report.rollouts.least <= report.rollouts.mean <= report.rollouts.most
    # The environment pays at most 1 a step.
    assert 0 < report.rollout_return < 10
    assert report.behaviour_return == pytest.approx(report.rollout_return, rel=0.5)
    assert np.isfinite(report.log_likelihood)
    names = [row[0] for row in policy_rows(report)]
    assert names == [
        "dataset's own episodes",
        "policy, from the data",
        "policy, rolled out",
        "roll-outs, undiscounted",
        "log density of the data",
        "distance to the data's actions",
    ]


def test_what_there_is_no_environment_for_is_judged_by_the_data_alone(follower):
    dataset, run = follower
    bare = replace(dataset, info=replace(dataset.info, env=None))
    report = report_policy(bare, run, PolicyReportConfig(fqe=None))
    assert report.rollouts is report.rollout_return is report.fitted_return is None
    text = report_text(report_dataset(bare, (report,)))
    assert "environment unknown" in text
    assert str(run) in text
    loose = replace(bare, has_last_observations=False)
    assert report_policy(loose, run, PolicyReportConfig(fqe=FQE)).fitted_return is None


def test_a_policy_of_another_dataset_is_refused(dataset, follower):
    with pytest.raises(ValueError, match="maps 2 observed numbers to 1 actions, but 3 and 1"):
        report_policy(dataset, follower[1], PolicyReportConfig(fqe=None, episodes=0))
    with pytest.raises(FileNotFoundError):
        report_policy(dataset, Path("nothing"), PolicyReportConfig(fqe=None))
    with pytest.raises(ValueError, match="episodes must not be negative"):
        PolicyReportConfig(episodes=-1)
