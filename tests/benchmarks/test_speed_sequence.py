import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pbrl.agents.oppo_steps import steps_of_pairs


@pytest.fixture
def tiny(load, monkeypatch):
    """Shrink every size to one that takes no time."""
    agents = load("speed.sequence_agents")

    def small(transformer):
        return replace(transformer, width=8, num_layers=1, num_heads=1)

    def policy(config):
        return replace(config, context=4, transformer=small(config.transformer))

    oppo = agents.RELEASED_OPPO
    oppo = replace(
        oppo, policy=policy(oppo.policy), encoder=small(oppo.encoder), num_pairs=3, segment_steps=4
    )
    imitation = agents.RELEASED_DTR.imitation
    imitation = replace(imitation, policy=policy(imitation.policy), batch_size=5)
    dtr = replace(agents.RELEASED_DTR, imitation=imitation, critic_hidden_sizes=(8,))
    monkeypatch.setattr(agents, "RELEASED_OPPO", oppo)
    monkeypatch.setattr(agents, "RELEASED_DTR", dtr)
    methods = {"oppo": oppo, "dtr": dtr}
    monkeypatch.setattr(
        agents, "make_fit_config", lambda _, name, __: SimpleNamespace(method=methods[name])
    )
    monkeypatch.setattr(agents, "TransformerConfig", lambda: small(oppo.policy.transformer))
    monkeypatch.setattr(agents, "CONTEXT", 4)
    monkeypatch.setattr(agents, "ACTED_STEPS", 6)
    monkeypatch.setattr(agents, "NUM_ENVS", (1, 3))
    stored = agents.stored_episodes
    monkeypatch.setattr(agents, "stored_episodes", lambda _: stored(2, 120))
    measure = agents.time_in_turns
    monkeypatch.setattr(agents, "time_in_turns", lambda runs, _: measure(runs, 1, 1e-9))
    return agents


def test_without_checkouts_our_own_updates_acting_and_memory_are_measured(tiny, load, tmp_path):
    output = tmp_path / "speed.json"
    program = load("speed_sequence")
    program.main(program.SequenceOptions(rounds=1, output=output))
    rows = json.loads(output.read_text())["rows"]
    sections = [row["section"] for row in rows]
    assert sections.count("OPPO update") == sections.count("DTR update") == 2
    assert sections.count("acting") == 4
    assert all(row["ratio"] == 1.0 for row in rows if row["contender"] == "without cache")
    kept = {row["note"] for row in rows if row["section"] == "memory"}
    assert len(kept) == 1  # the same for short and for long windows


def test_a_contest_is_judged_by_time_and_by_losses(tiny):
    case, agent, batch = tiny.make_dtr(tiny.RELEASED_DTR)

    def theirs(factor):
        def build(_, ours, given):
            _, other = tiny.without_dropout(ours, given), tiny.make_dtr(ours.config)[1]

            def step():
                metrics = other.update(given)
                names = ("imitation_loss", "critic_loss")
                return {name: factor * float(metrics[name]) for name in names}

            return step

        return build

    rows = tiny._updates("DTR", (case, agent, batch), 1, Path(), theirs(1.0))
    assert [row.contender for row in rows] == ["official", "pbrl"]
    assert "losses equal to 0e+00" in rows[1].note
    still, given = tiny.without_dropout(agent, batch)
    assert tiny.largest_difference(still, given, Path(), theirs(1.01)) == pytest.approx(
        0.01, rel=0.05
    )


def test_oppo_is_compared_over_several_updates_on_padded_windows(tiny):
    def theirs(factor):
        def build(_, ours, given):
            other = tiny.make_oppo(ours.config)[1]

            def step():
                metrics = other.update(given)
                names = ("imitation_loss", "norm_loss", "preference_loss")
                return {name: factor ** (name == names[2]) * float(metrics[name]) for name in names}

            return step

        return build

    row = tiny.oppo_parity(Path(), theirs(1.0))
    assert (row.is_met, row.note) == (True, "losses of 4 updates equal to 0e+00")
    assert row.case.endswith("padded")
    assert not tiny.oppo_parity(Path(), theirs(1.001)).is_met


def test_both_sides_get_the_same_padded_windows(tiny, monkeypatch):
    _, agent, batch = tiny.make_oppo(tiny.RELEASED_OPPO)
    pairs = tiny.padded(batch).pairs
    assert pairs.segments.mask.sum(-1).tolist() == [[4, 2], [3, 3], [2, 4]]
    given = {}
    monkeypatch.setattr(
        tiny.official_sequences, "oppo_step", lambda _, __, halves: given.update(halves=halves)
    )
    tiny.their_oppo(Path(), agent, tiny.padded(batch))
    steps = steps_of_pairs(pairs)
    for place, (_, actions, timesteps, mask, _) in enumerate(given["halves"]):
        assert torch.equal(mask, steps.mask[place::2])
        assert torch.equal(timesteps, steps.timesteps[place::2])
        assert (actions[~mask] == -10).all()
        assert torch.equal(actions[mask], steps.actions[place::2][mask])
    first = batch.pairs.starts
    assert steps.timesteps[1].tolist() == [0, 0, first[0, 1], first[0, 1] + 1]


def test_dtr_is_compared_over_several_updates_on_windows_that_end(tiny):
    def theirs(changed, factor):
        def build(_, ours, given):
            other = tiny.make_dtr(replace(ours.config, **changed))[1]

            def step():
                metrics = other.update(given)
                value = factor * float(metrics["normalized_value"])
                return {"critic_loss": float(metrics["critic_loss"]), "normalized_value": value}

            return step

        return build

    row = tiny.dtr_parity(Path(), theirs({}, 1.0))
    assert (row.is_met, row.note) == (True, "losses and values of 4 updates equal to 0e+00")
    assert not tiny.dtr_parity(Path(), theirs({}, 1.001)).is_met
    # Were a last reward of a terminal window not discarded, or the slow copy later, one would see.
    assert not tiny.dtr_parity(Path(), theirs({"discard_last": False}, 1.0)).is_met
    assert not tiny.dtr_parity(Path(), theirs({"slow_start": 2}, 1.0)).is_met


def test_the_windows_on_which_dtr_is_compared_are_padded_and_terminal(tiny):
    _, agent, batch = tiny.make_dtr(tiny.RELEASED_DTR)
    windows = tiny.ended(batch).windows
    assert windows.mask.sum(1).tolist() == [4, 3, 4, 2, 4]
    assert windows.terminated.tolist() == [True, False, False, True, False]
    assert not windows.observations[~windows.mask].any()
    assert torch.equal(windows.actions[windows.mask], batch.windows.actions[windows.mask])


def test_what_stands_in_for_the_package_of_the_released_transformers(load):
    stand_in = load("speed.transformers_stand_in")
    layer = stand_in.Conv1D(2, 3)
    inputs = torch.randn(4, 5, 3)
    torch.testing.assert_close(layer(inputs), inputs @ layer.weight + layer.bias)
    outputs = stand_in.Outputs(last_hidden_state=1, past=None, attentions=2)
    assert (outputs["last_hidden_state"], outputs[1], outputs.past) == (1, 2, None)
    mask = torch.tensor([[1, 0]])
    model = stand_in.Model(None)
    model.layer = layer
    assert model.get_extended_attention_mask(mask).tolist() == [[[[0.0, -10_000.0]]]]
    assert model.get_head_mask(None, 2) == [None, None]
    assert stand_in.gpt2_config(n_embd=8).layer_norm_epsilon == 1e-5
    found = stand_in.modules()
    assert found["transformers.modeling_utils"].Conv1D is stand_in.Conv1D
    assert isinstance(found["transformers.modeling_outputs"].AnyOutput, type)


def test_a_folder_that_is_no_checkout_is_refused(load, tmp_path):
    official = load("speed.official_sequences")
    with pytest.raises(ValueError, match="holds no folder decision_transformer"):
        official._found(tmp_path, trainer="training.trainer:Trainer")
