import json
import sys

import pytest
import torch


@pytest.fixture
def tiny(load, monkeypatch):
    """Shrink every size to one that takes no time."""
    agents, updates = load("speed.offline_agents"), load("speed.offline_updates")
    small = {"observation_dim": 3, "action_dim": 2, "hidden_sizes": (8, 8), "steps": 4}
    monkeypatch.setattr(agents, "CPL_SIZES", (updates.Size(name="tiny", pairs=2, **small),))
    sizes = (
        updates.Size(name="tiny", pairs=2, transitions=5, dropout=0.0, **small),
        updates.Size(name="pairs", pairs=2, dropout=0.0, **small),
    )
    monkeypatch.setattr(agents, "IPL_SIZES", sizes)
    alone = updates.Size(name="tiny", pairs=0, transitions=5, dropout=0.0, **small)
    monkeypatch.setattr(agents, "IQL_SIZES", (alone,))
    measure = updates.time_in_turns
    monkeypatch.setattr(updates, "time_in_turns", lambda runs, _: measure(runs, 1, 1e-9))
    return load("speed_offline")


def test_without_checkouts_our_own_updates_are_timed(tiny, tmp_path):
    output = tmp_path / "speed.json"
    tiny.main(tiny.OfflineOptions(rounds=1, output=output))
    rows = json.loads(output.read_text())["rows"]
    assert {row["section"] for row in rows} == {
        "CPL update", "IPL update", "IQL update", "P-IQL update",
    }  # fmt: skip
    assert len(rows) == 5
    assert all(row["contender"] == "pbrl" and row["is_met"] is None for row in rows)
    assert all("updates/s" in row["note"] for row in rows)
    with pytest.raises(SystemExit, match="unknown sections"):
        tiny.main(tiny.OfflineOptions(sections=("nonsense",)))


def test_a_contest_is_judged_by_time_and_by_losses(tiny, load):
    updates, agents = load("speed.offline_updates"), load("speed.offline_agents")

    def against_itself(size, _):
        ours, theirs = agents.build_cpl(size, None), agents.build_cpl(size, None)

        def step():
            loss = theirs.agent.update(theirs.batch)["preference_loss"]
            return {"loss": 1.001 * float(loss)}

        return updates.Contest(ours.agent, ours.batch, step, {"preference_loss": "loss"})

    size = updates.Size(name="one", pairs=2, steps=4, hidden_sizes=(8,), dropout=0.0)
    difference = updates.largest_difference(against_itself(size, None))
    assert difference == pytest.approx(1e-3, rel=0.01)
    rows = updates.updates("CPL", (size,), against_itself, None, 1)
    assert [row.contender for row in rows] == ["official", "pbrl"]
    assert rows[1].is_met is False  # the losses differ


def test_pairs_and_transitions_under_their_names(load):
    updates = load("speed.offline_updates")
    size = updates.Size(name="one", pairs=3, transitions=4, steps=5)
    batch = updates.make_batch(size)
    pairs, transitions = updates.their_pairs(batch), updates.their_transitions(batch)
    assert torch.equal(pairs["obs_2"], batch.pairs.segments.observations[:, 1])
    assert torch.equal(pairs["action_1"], batch.pairs.segments.actions[:, 0])
    assert torch.equal(transitions["next_obs"], batch.transitions.next_observations)
    assert size.case() == "one: 2x512, 3 pairs of 5, 4 transitions"


def test_parameters_are_copied_into_the_layout_of_theirs(load):
    official = load("speed.official")
    ours, theirs = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    official.copy_parameters(ours, theirs)
    assert torch.equal(ours.weight, theirs.weight)
    ensemble = torch.nn.ParameterList([torch.randn(1, 3, 2), torch.randn(1, 1, 2)])
    official.copy_parameters(ensemble, theirs)
    inputs = torch.randn(4, 3)
    torch.testing.assert_close(theirs(inputs), inputs @ ensemble[0][0] + ensemble[1][0])


def test_a_checkout_is_imported_and_forgotten(load, tmp_path):
    official = load("speed.official")
    with pytest.raises(ValueError, match="holds no folder research/algs"):
        official.classes(tmp_path, algorithm="research.algs.one:One")
    folder = tmp_path / "research" / "algs"
    folder.mkdir(parents=True)
    (tmp_path / "research" / "__init__.py").write_text("from research.envs import base\n")
    (folder / "__init__.py").touch()
    source = (
        "import gym\nimport d4rl\nfrom research.envs.base import Empty\nclass One(Empty): ...\n"
    )
    (folder / "one.py").write_text(source)
    before, path = set(sys.modules), list(sys.path)
    found = official.classes(tmp_path, algorithm="research.algs.one:One")
    assert found.algorithm.__name__ == "One"
    assert {name for name in set(sys.modules) - before if name.startswith(("research", "gym"))} == (
        set()
    )
    assert sys.path == path
