import json

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import pbrl.linear
from pbrl.agents.sac import SAC, SACConfig
from pbrl.replay import Batch


@pytest.fixture
def tiny(load, monkeypatch):
    """Shrink every section to sizes that take no time."""
    sac, reward, samplers = (load(f"speed.{name}") for name in ("sac", "reward", "samplers"))
    replay, environments = load("speed.replay"), load("speed.environments")
    physics, precision = load("speed.physics"), load("speed.precision")
    changes = {
        (sac, "SIZES"): (((8, 8), 4), ((8, 8, 8), 4)),
        (sac, "LEAST_RATIOS"): {((8, 8), 4): 1.5},
        (sac, "NUM_STORED"): 200,
        (reward, "TRAINING"): ((4, 5, 1), (2, 1, 2)),
        (reward, "NUM_FULL"): 4,
        (reward, "HIDDEN_SIZES"): (8, 8),
        (reward, "NUM_RELABELLED"): 2_000,
        (reward, "NUM_COMPARED"): 1_000,
        (samplers, "NUM_EPISODES"): 2,
        (samplers, "NUM_CANDIDATES"): 20,
        (samplers, "NUM_PICKED"): 2,
        (samplers, "NUM_LABELLED"): 2,
        (replay, "NUM_STEPS"): 2_000,
        (environments, "IDS"): ("gym/HalfCheetah-v5",),
        (environments, "COUNTS"): (1, 2),
        (environments, "JUDGED_COUNT"): 2,
        (physics, "TASKS"): ("cheetah-run",),
        (physics, "COUNTS"): (1, 2),
        (physics, "MOST_SEPARATE"): 1,
        (physics, "JUDGED_COUNT"): 2,
        (precision, "SIZES"): (((8, 8), 4),),
        (precision, "LABELLED"): (4, 5, 1),
        (precision, "NUM_RELABELLED"): 1_000,
    }
    for (module, name), value in changes.items():
        monkeypatch.setattr(module, name, value)
    for module in (sac, reward, samplers, replay, environments, physics, precision):
        measure = module.time_in_turns
        monkeypatch.setattr(
            module, "time_in_turns", lambda runs, _, measure=measure: measure(runs, 1, 1e-9)
        )
    return load("speed_online")


@pytest.mark.parametrize("hidden_sizes", [(16, 8), (8, 8, 8)])
def test_counted_operations_are_those_that_an_update_runs(load, hidden_sizes, monkeypatch):
    monkeypatch.setattr(pbrl.linear, "_onednn_linear", None)  # torch counts its own products only
    speed = load("speed.sac")
    observation_dim, action_dim = speed.OBSERVATION_DIM, speed.ACTION_DIM
    generator = torch.Generator().manual_seed(0)
    config = SACConfig(hidden_sizes=hidden_sizes)
    agent = SAC(config, observation_dim, action_dim, generator=generator)
    observations, zeros = torch.zeros(32, observation_dim), torch.zeros(32)
    batch = Batch(observations, torch.zeros(32, action_dim), zeros, observations, zeros)
    with FlopCounterMode(display=False) as counter:
        agent.update(batch)
    assert counter.get_total_flops() == speed.flops_per_update(hidden_sizes, 32)


def test_counted_operations_are_those_of_a_reward_network(load):
    measure = load("speed.measure")
    num_inputs = measure.OBSERVATION_DIM + measure.ACTION_DIM
    network = nn.Sequential(nn.Linear(num_inputs, 16), nn.ReLU(), nn.Linear(16, 1))
    with FlopCounterMode(display=False) as forward:
        rewards = network(torch.zeros(32, num_inputs))
    with FlopCounterMode(display=False) as backward:
        rewards.sum().backward()
    counted = [counter.get_total_flops() / 32 for counter in (forward, backward)]
    assert counted[0] == measure.reward_flops((16,), is_training=False)
    assert sum(counted) == measure.reward_flops((16,), is_training=True)


def test_contenders_take_turns(load):
    calls = []
    times = load("speed.measure").time_in_turns(
        {name: lambda n, name=name: calls.append((name, n)) for name in "ab"}, 3, seconds=1e-12
    )
    assert list(times) == ["a", "b"]
    assert calls == [("a", 1), ("b", 1)] * 4  # the first of each is the warm-up


def test_both_ways_of_training_learn_the_same_labels(load, monkeypatch):
    reward = load("speed.reward")
    monkeypatch.setattr(reward, "HIDDEN_SIZES", (32,))
    torch.manual_seed(0)
    contenders = reward.training_contenders(6, 5, 25)
    parts = {}
    for name, run in contenders.items():
        cells = zip(run.__code__.co_freevars, run.__closure__, strict=True)
        parts[name] = {variable: cell.cell_contents for variable, cell in cells}
    step = parts["pbrl"]["step"]
    learner = dict(zip(step.__code__.co_freevars, step.__closure__, strict=True))["learner"]
    learner, loop = learner.cell_contents, parts["loop over members"]

    @torch.no_grad()
    def losses():
        inputs, labels = loop["inputs"], loop["labels"]
        ours = learner.ensemble.evaluate(inputs[None]).sum(3)  # [member, pair, two]
        theirs = torch.stack([member(inputs).sum((2, 3)) for member in loop["members"]])
        preferred = labels.long().expand(3, -1).flatten()
        return [
            nn.functional.cross_entropy(each.flatten(0, 1), preferred) for each in (ours, theirs)
        ]

    before = losses()
    for run in contenders.values():
        run(1)
    after = losses()
    assert all(later < 0.97 * earlier for later, earlier in zip(after, before, strict=True))
    assert float(after[0] / before[0]) == pytest.approx(float(after[1] / before[1]), abs=0.15)


def test_held_memory_counts_shared_storage_once(load):
    tensor = torch.zeros(10)
    assert load("speed.replay").bytes_held({"whole": tensor, "views": [tensor[:5], tensor]}) == 40


def test_every_section_names_and_judges_its_aims(tiny, load, tmp_path):
    output, page = tmp_path / "speed.json", tmp_path / "speed.md"
    page.write_text("# Speed\n\nWhat holds it.\n")
    tiny.main(tiny.SpeedOptions(rounds=1, output=output, page=page))
    record = json.loads(output.read_text())
    rows = record["rows"]
    judged = [row for row in rows if row["aim"]]
    assert {row["section"] for row in judged} == {
        "SAC update", "ensemble training", "relabelling", "sampler", "environment step",
        "replay memory", "batched physics",
    }  # fmt: skip
    assert all(isinstance(row["is_met"], bool) for row in judged)
    assert all(row["is_met"] is None for row in rows if not row["aim"])
    assert record["machine"].keys() == {"cpu", "cores"}
    first = page.read_text()
    assert first.startswith("# Speed\n\nWhat holds it.\n")
    assert first.count("| near-on-policy+k-center") == 1
    load("speed.program").write_page(record, page, "online")
    assert page.read_text() == first


def test_a_part_of_the_sections_leaves_the_record_alone(tiny, load, tmp_path, monkeypatch):
    monkeypatch.setattr(load("speed.program"), "RESULTS", tmp_path / "results")
    tiny.main(tiny.SpeedOptions(rounds=1, sections=("replay",)))
    assert not (tmp_path / "results").exists()


def test_sections_unknown_to_the_benchmark_are_refused(tiny):
    with pytest.raises(SystemExit, match="unknown sections"):
        tiny.main(tiny.SpeedOptions(sections=("nonsense",)))
