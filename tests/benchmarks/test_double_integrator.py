import importlib
import json
import statistics
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("double_integrator")


@pytest.fixture
def integrator(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("toys.integrator")


def test_a_step_by_hand(integrator):
    # From (1, 0) with velocity (0, -1) under the action (0.5, 0).
    transition, control = integrator.dynamics()
    state, action = torch.tensor([1.0, 0.0, 0.0, -1.0]), torch.tensor([0.5, 0.0])
    following = transition @ state + control @ action
    torch.testing.assert_close(following, torch.tensor([1.005, -0.1, 0.05, -1.0]))
    assert float(integrator.rewards_of(state, action)) == pytest.approx(-(1 + 0.1 + 0.0025))


def test_the_regulator_solves_its_equation(integrator):
    gain, value = (part.double() for part in integrator.linear_quadratic_regulator())
    transition, control = (part.double() for part in integrator.dynamics())
    closed = transition - control @ gain
    cost = torch.diag(torch.tensor(integrator.COSTS)).double() + 0.01 * gain.T @ gain
    torch.testing.assert_close(value, cost + 0.99 * closed.T @ value @ closed, rtol=1e-4, atol=1e-4)


def test_returns_of_known_policies(integrator):
    assert integrator.mean_return(integrator.best) == pytest.approx(-5.2, abs=0.1)
    assert integrator.mean_return(integrator.behaviour(None)) == pytest.approx(-17.4, abs=0.5)


def test_scores_are_sums_of_advantages(integrator):
    replay, data = integrator.make_data(torch.Generator().manual_seed(0))
    assert len(data) == integrator.NUM_SEGMENTS
    segments = replay.gather(data.segments[:50])
    _, matrix = integrator.linear_quadratic_regulator()
    transition, control = integrator.dynamics()
    states, actions = segments.observations, segments.actions
    following = states @ transition.T + actions @ control.T

    def value(state):
        return -torch.einsum("...i,ij,...j->...", state, matrix, state)

    advantages = segments.true_rewards + 0.99 * value(following) - value(states)
    torch.testing.assert_close(advantages.sum(1), data.scores[:50], rtol=1e-4, atol=1e-3)


def test_every_method_runs_and_the_page_shows_the_record(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(toy, "PRETRAINING", 1)
    output, page = tmp_path / "record.json", tmp_path / "page.md"
    page.write_text("# Methods\n\nWhat they are.\n")
    toy.main(seeds=(0,), updates=2, output=output, page=page)
    record = json.loads(output.read_text())
    assert {row["method"] for row in record["rows"]} == set(toy.REFERENCE)
    assert all(len(row["curve"]) == 1 for row in record["rows"])
    text = page.read_text()
    assert text.startswith("# Methods\n\nWhat they are.\n")
    assert "| cpl, lambda 1" in text
    with pytest.raises(SystemExit, match="unknown methods"):
        toy.main(only=("nonsense",))


def test_ipl_soon_leaves_its_data_behind(toy):
    # Full runs stand at -15 to -16 by then, the behaviour at -17.4.
    assert toy.train("ipl", seed=0, updates=350)["final"] > -17


@pytest.mark.slow
def test_the_table(toy):
    def runs(method):
        return [toy.train(method, seed) for seed in range(3)]

    cpl = statistics.median(row["best_of_last"] for row in runs("cpl"))
    others = [statistics.median(row["best_of_last"] for row in runs(m)) for m in ("bc", "sft")]
    assert cpl > -14.5
    assert cpl > max(others)
    assert all(row["final"] > -9 for row in runs("ipl"))
