"""Small versions of the benchmarks of labelling: they do their work and lose nothing."""

import importlib
import json
import random
from pathlib import Path

import numpy as np
import pytest

from pbrl.envs import make

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


def test_a_killed_server_loses_nothing(tmp_path):
    faults = importlib.import_module("faults_labelling")
    found = faults.kill_server(tmp_path, faults.Plan(3), random.Random(0), num_queries=200)
    assert found["acknowledged"] > 3
    assert (found["kills"], found["lost"], found["twice"], found["errors"]) == (3, 0, 0, [])


def test_a_killed_run_asks_nothing_twice(tmp_path):
    faults = importlib.import_module("faults_labelling")
    found = faults.kill_trainer(tmp_path, faults.Plan(2), random.Random(0))
    assert found["queries"] == faults.QUERIES_PER_RUN * found["runs"]
    assert found["acknowledged"] >= found["queries"] - 4
    assert (found["kills"], found["lost"], found["twice"], found["errors"]) == (2, 0, 0, [])


def test_load_is_measured(tmp_path):
    load = importlib.import_module("load_labelling")
    output = tmp_path / "load.json"
    load.main(seconds=2.0, annotators=3, think=0.1, queries=100, output=output)
    record = json.loads(output.read_text())
    assert record["labels"] > 0
    assert set(record["statuses"]) == {"200"}
    assert record["p50_milliseconds"] <= record["p99_milliseconds"]
    assert (record["lost"], record["twice"]) == (0, 0)


def test_returns_out_of_the_numbers_are_the_true_ones():
    live = importlib.import_module("live_labelling")
    env = make("gym/Pendulum-v1", seed=0)
    rng = np.random.default_rng(0)
    observations, actions, rewards = [], [], []
    observation, _ = env.reset()
    for _ in range(50):
        action = rng.uniform(-1, 1, (1, 1)).astype(np.float32)
        observations.append(observation[0])
        actions.append(action[0])
        observation, reward, *_ = env.step(action)
        rewards.append(reward[0])
    found = live.pendulum_return(np.array(observations), np.array(actions))
    assert found == pytest.approx(float(np.sum(rewards)), rel=1e-4)


def test_scores_are_compared_by_intervals():
    live = importlib.import_module("live_labelling")

    def runs(*scores):
        return [{"score": score, "random_score": -1_000.0} for score in scores]

    same = live.compare({"in_process": runs(1.0, 2.0, 3.0), "over_http": runs(2.0, 1.5, 3.0)})
    assert same["is_same_within_intervals"]
    assert same["in_process"]["mean"] == 2.0
    other = live.compare({"in_process": runs(1.0, 2.0), "over_http": runs(8.0, 9.0)})
    assert not other["is_same_within_intervals"]
    assert other["difference"]["mean"] == 7.0


def test_the_page_says_what_the_records_say():
    page = importlib.import_module("labelling.page")
    records = {path.stem: json.loads(path.read_text()) for path in page.RECORDS.glob("*.json")}
    assert set(records) == {"faults", "load", "live"}
    assert page.body(records) in page.PAGE.read_text()
