import importlib
import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from pbrl.agents.recorded import RecordedUpdate
from tests.agents import tape

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def program(load, monkeypatch):
    """The program at sizes that take no time; its file has the name of the package beside it."""
    comparisons = load("speed.comparisons")
    updates, agents, sequences = (
        load(f"speed.{name}") for name in ("offline_updates", "offline_agents", "sequence_agents")
    )
    size = updates.Size(
        name="tiny", observation_dim=3, action_dim=2, pairs=2, steps=4, hidden_sizes=(8, 8)
    )

    def small(policy):
        transformer = replace(policy.transformer, width=8, num_layers=1, num_heads=1)
        return replace(policy, context=4, transformer=transformer)

    oppo, dtr = sequences.RELEASED_OPPO, sequences.RELEASED_DTR
    encoder = replace(oppo.encoder, width=8, num_layers=1, num_heads=1)
    imitation = replace(dtr.imitation, policy=small(dtr.imitation.policy), batch_size=5)
    taco = load("speed.taco")
    images = replace(taco.CONFIG.encoder, image_shape=(9, 16, 16), num_filters=2)
    objective = replace(taco.CONFIG.taco, hidden_size=8)
    changes = {
        (comparisons, "SAC_SIZES"): (((8, 8), 4), ((8, 8, 8), 4)),
        (load("speed.sac"), "NUM_STORED"): 200,
        (comparisons, "PAIRS"): 4,
        (comparisons, "SEGMENT_STEPS"): 5,
        (load("speed.reward"), "HIDDEN_SIZES"): (8, 8),
        (comparisons, "EPISODES"): 1,
        (agents, "CPL_SIZES"): (size,),
        (agents, "IPL_SIZES"): (replace(size, transitions=5, dropout=0.0),),
        (agents, "IQL_SIZES"): (replace(size, pairs=0, transitions=5, dropout=0.0),),
        (sequences, "RELEASED_OPPO"): replace(
            oppo, policy=small(oppo.policy), encoder=encoder, num_pairs=3, segment_steps=4
        ),
        (sequences, "RELEASED_DTR"): replace(dtr, imitation=imitation, critic_hidden_sizes=(8,)),
        (comparisons, "IMAGES"): 4,
        (taco, "CONFIG"): replace(taco.CONFIG, encoder=images, hidden_size=8, taco=objective),
        (taco, "NUM_STORED"): 40,
        (taco, "EPISODE"): 10,
        (load("speed.environments"), "IDS"): ("gym/HalfCheetah-v5",),
        (load("speed.environments"), "COUNTS"): (1, 2),
        (load("speed.physics"), "TASKS"): ("cheetah-run",),
        (load("speed.physics"), "COUNTS"): (1, 2),
    }
    for (module, name), value in changes.items():
        monkeypatch.setattr(module, name, value)
    measure = load("speed.measure").time_in_turns
    for name in ("one_table", "environments", "physics"):
        monkeypatch.setattr(
            load(f"speed.{name}"), "time_in_turns", lambda runs, _: measure(runs, 1, 1e-9)
        )
    peaks = load("speed.roofline").measure_peaks
    specification = importlib.util.spec_from_file_location("program", FOLDER / "speed.py")
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "program", module)
    specification.loader.exec_module(module)
    monkeypatch.setattr(
        module, "measure_peaks", lambda device: peaks(device, side=64, num_floats=1_000)
    )
    return module


def test_every_update_and_every_back_end_has_its_row(program, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda update: lambda batch: update(batch))
    output, page = tmp_path / "speed.json", tmp_path / "speed.md"
    page.write_text("# Speed\n\nWhat holds it.\n")
    program.main(program.Options(rounds=1, output=output, page=page))
    record = json.loads(output.read_text())
    rows = {row["method"]: row for row in record["updates"]}
    assert list(rows) == [
        "SAC / PEBBLE", "reward ensemble", "relabelling",
        "CPL", "IPL", "IQL", "OPPO", "DTR", "TACO",
    ]  # fmt: skip
    assert len(record["updates"]) == 10  # SAC at two sizes
    assert record["updates"][0]["milliseconds"].keys() == {
        "plain torch", "stable-baselines3", "ours", "ours compiled",
    }  # fmt: skip
    assert "ours compiled" not in rows["SAC / PEBBLE"]["milliseconds"]  # the large one
    for row in record["updates"]:
        assert row["gigaflops"] > 0
        assert row["megabytes"] > 0
        assert row["bound"] > 0
    assert "official: no --dtr-checkout" in rows["DTR"]["notes"]
    contenders = {row["contender"] for row in record["environments"]}
    assert {"bare", "pbrl", "dm_control", "pbrl rollout"} <= contenders
    text = page.read_text()
    assert text.startswith("# Speed\n\nWhat holds it.\n")
    lines = [line for line in text.splitlines() if line.startswith("| dmc/cheetah-run x2 ")]
    assert len(lines) == 1
    assert "DTR, official: no --dtr-checkout" in text
    program.write_page(record, page)
    assert page.read_text() == text


def test_a_part_that_cannot_be_compiled_says_so(program, load, tmp_path, monkeypatch):
    def refuse(_):
        raise TorchDynamoException("no")

    monkeypatch.setattr(torch, "compile", refuse)
    output = tmp_path / "speed.json"
    program.main(program.Options(rounds=1, sections=("iql",), output=output))
    (row,) = json.loads(output.read_text())["updates"]
    assert "ours compiled: TorchDynamoException" in row["notes"]
    cells = load("speed.one_table").UpdateRow(**row).cells()
    assert cells[6] == "fails"
    assert cells[2] == ""  # no official program, which is no failure


def test_wrong_sections_and_devices_are_refused(program):
    with pytest.raises(SystemExit, match="unknown sections"):
        program.main(program.Options(sections=("nonsense",)))
    if not torch.cuda.is_available():
        with pytest.raises(SystemExit, match="no CUDA device"):
            program.main(program.Options(device="cuda"))


def test_the_bound_by_hand(load):
    roofline = load("speed.roofline")
    peaks = roofline.Peaks(flops=100.0, bandwidth=10.0)
    assert roofline.Cost(200, 10).bound(peaks) == 2.0
    assert roofline.Cost(200, 10).bound_by(peaks) == "products"
    assert roofline.Cost(100, 40).bound(peaks) == 4.0
    assert roofline.Cost(100, 40).bound_by(peaks) == "memory"


def test_operations_and_bytes_of_a_layer_by_hand(load):
    inputs, weight = torch.randn(16, 8), nn.Parameter(torch.randn(8, 4))

    def update():
        torch.tanh(inputs @ weight).sum().backward()

    cost = load("speed.roofline").cost_of(update, lambda: {"weight": weight}, inputs, num_steps=3)
    assert cost.flops == 2 * (2 * 16 * 8 * 4)  # forward, and the gradient of the weight
    # The weight read and written in three steps, the inputs read, the tanh written and read.
    assert cost.num_bytes == 4 * (3 * 2 * 8 * 4 + 16 * 8 + 2 * 16 * 4)


@pytest.mark.parametrize("name", ["sac", "cpl", "ipl", "iql"])
def test_products_of_both_libraries_count_the_same(load, program, name, monkeypatch):
    comparisons, roofline = load("speed.comparisons"), load("speed.roofline")
    linear = importlib.import_module("pbrl.linear")
    monkeypatch.setattr(linear, "MINIMUM_WORK", 1)
    monkeypatch.setattr(linear, "MINIMUM_SIDE", 1)

    def counted():
        comparison = comparisons.METHODS[name](comparisons.Setting())[0]
        agent, step = comparison.make()
        return roofline.cost_of(step, agent.state_dict).flops

    by_onednn = counted()
    if name != "sac":  # ours leaves out the gradients of the critics that the actor's loss has
        comparison = comparisons.METHODS[name](comparisons.Setting())[0]
        plain = comparison.others["plain torch"]
        assert roofline.cost_of(lambda: plain(1), dict).flops == by_onednn
    monkeypatch.setattr(linear, "_onednn_linear", None)
    assert counted() == by_onednn


def copy_critics(ours, theirs):
    """Give two perceptrons the parameters of an ensemble of two."""
    parameters = list(ours.parameters())
    for member, critic in enumerate(theirs):
        for to, of in zip(critic.parameters(), parameters, strict=True):
            to.data.copy_(of.detach()[member].T.reshape(to.shape))


@pytest.mark.parametrize("name", ["IQL", "IPL"])
def test_plain_updates_do_what_ours_do(load, program, name):
    agents, plain = load("speed.offline_agents"), load("speed.plain_agents")
    size = getattr(agents, f"{name}_SIZES")[0]
    contest = getattr(agents, f"build_{name.lower()}")(size, None)
    ours = contest.agent
    theirs = getattr(plain, f"Plain{name}")(ours.config, (size.observation_dim, size.action_dim))
    copy_critics(ours.critic, theirs.critics)
    copy_critics(ours.critic, theirs.targets)
    copy = load("speed.official").copy_parameters
    copy(ours.value, theirs.value)
    copy(ours.policy.layers, theirs.policy.mean)
    for _ in range(3):
        ours.update(contest.batch)
        theirs.update(contest.batch)
    _, expected, of_targets = (plain.PlainIQL(ours.config, (3, 2)) for _ in range(3))
    copy_critics(ours.critic, expected.critics)
    copy_critics(ours.target_critic, of_targets.critics)
    pairs = [
        (ours.value, theirs.value),
        (ours.policy.layers, theirs.policy.mean),
        (expected.critics, theirs.critics),
        (of_targets.critics, theirs.targets),
    ]
    for one, other in pairs:
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_plain_cpl_has_the_loss_of_ours(load, program):
    agents, plain = load("speed.offline_agents"), load("speed.plain_agents")
    size = replace(agents.CPL_SIZES[0], dropout=0.0)
    contest = agents.build_cpl(size, None)
    theirs = plain.PlainCPL(contest.agent.config, (size.observation_dim, size.action_dim))
    load("speed.official").copy_parameters(contest.agent.policy, theirs.policy)
    for _ in range(3):
        ours = contest.agent.update(contest.batch)["preference_loss"]
        torch.testing.assert_close(ours, theirs.update(contest.batch))


def test_plain_sac_has_as_many_parameters_as_ours_and_learns(load):
    plain, sac = load("speed.plain_agents"), load("pbrl.agents.sac")
    config = sac.SACConfig(hidden_sizes=(8, 8))
    agent = sac.SAC(config, 3, 2, generator=torch.Generator().manual_seed(0))
    theirs = plain.PlainSAC(config, (3, 2))
    for ours, network in ((agent.actor, theirs.actor), (agent.critic, theirs.critics)):
        counts = [sum(p.numel() for p in each.parameters()) for each in (ours, network)]
        assert counts[0] == counts[1]
    before = [parameter.detach().clone() for parameter in theirs.targets.parameters()]
    batch = load("pbrl.batches").Batch(
        torch.randn(16, 3), torch.zeros(16, 2), torch.ones(16), torch.randn(16, 3), torch.zeros(16)
    )
    temperature = theirs.log_temperature.item()
    for _ in range(3):
        theirs.update(batch)
    assert theirs.log_temperature.item() != temperature
    after = theirs.targets.parameters()
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_modules_of_bpref_are_imported_and_forgotten(load, tmp_path):
    official = load("speed.official_bpref")
    with pytest.raises(ValueError, match="holds no file reward_model"):
        official.load(tmp_path)
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "__init__.py").touch()
    (tmp_path / "utils.py").write_text("import metaworld.envs.mujoco.env_dict as _dict\n")
    source = "import utils\nimport hydra\nbuilt = hydra.utils.instantiate(lambda: 3)\n"
    (tmp_path / "agent" / "sac.py").write_text(source)
    for name in ("agent/critic", "agent/actor", "replay_buffer", "reward_model"):
        (tmp_path / f"{name}.py").write_text("import tqdm\n")
    before, path = set(sys.modules), list(sys.path)
    found = official.load(tmp_path)
    assert found.sac.built == 3
    left = {name for name in set(sys.modules) - before if name.split(".")[0] in official.PACKAGES}
    assert left == set()
    assert "hydra" not in set(sys.modules) - before
    assert sys.path == path


def test_an_update_from_a_graph_is_recorded_before_it_is_timed(load, monkeypatch):
    table, comparisons = load("speed.one_table"), load("speed.comparisons")
    made = []

    def make_update(agent, updates):
        assert updates == "graph"
        made.append(RecordedUpdate(agent, tape.TapeRecorder()))
        return made[-1]

    monkeypatch.setattr(table, "make_update", make_update)
    step = table.recorded(comparisons.METHODS["ipl"](comparisons.Setting())[0])
    assert made[0]._recordings
    before = made[0].agent.num_updates
    step()
    assert made[0].agent.num_updates == before + 1
    row = table.UpdateRow(
        method="IPL", case="", milliseconds={"ours": 1.0}, gigaflops=1.0, megabytes=1.0, bound=1.0,
        bound_by="memory", notes=["ours from a graph: out of memory"],
    )  # fmt: skip
    assert row.cells()[7] == "fails"
