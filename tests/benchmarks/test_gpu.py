import json
from dataclasses import replace

import pytest
import torch

from pbrl.training.result import Result
from pbrl.training.suites import Task


@pytest.fixture
def program(load, monkeypatch):
    """The program, which starts no others; the compiler, which takes long, does nothing."""
    program, gpu = load("gpu"), load("speed.gpu")
    monkeypatch.setattr(torch, "compile", lambda update: update)
    program.started = []
    monkeypatch.setattr(program, "_run", lambda *words: program.started.append(words) or 0)
    measure = gpu.time_in_turns
    monkeypatch.setattr(gpu, "time_in_turns", lambda runs, _, most: measure(runs, 1, 1e-9, most))
    return program


def test_everything_is_measured_and_written(program, tmp_path):
    output, page = tmp_path / "gpu.json", tmp_path / "speed.md"
    sections = ("tests", "worlds", "updates", "seeds", "table")
    options = program.Options(
        device="cpu", quick=True, sections=sections, output=output, page=page,
        bpref_checkout=tmp_path,
    )  # fmt: skip
    assert program.main(options) == 1  # these sizes on a CPU come to no aim of a GPU's
    rows = json.loads(output.read_text())["rows"]
    found = {section: [row for row in rows if row["section"] == section] for section in sections}
    assert [row["contender"] for row in found["worlds"]] == ["stepped", "rewarded and stored"]
    assert [row["contender"] for row in found["updates"]] == [
        "eager, float32", "eager, bfloat16", "compiled, float32", "compiled, bfloat16",
    ]  # fmt: skip
    assert found["seeds"][1]["contender"].startswith("2 seeds")
    assert found["seeds"][1]["aim"] == "at most 3x one"
    assert all(row["milliseconds"] > 0 for row in rows)
    assert "at least 500,000 steps/s" in page.read_text()
    tests, table = program.started
    assert tests[:4] == ("-m", "pytest", "-m", "gpu")
    assert table[1:] == (
        "--device", "cpu", "--quick", "--no-compiles", "--bpref-checkout", str(tmp_path),
    )  # fmt: skip


@pytest.fixture
def short_suite(program, monkeypatch):
    """A suite of one method on a task whose episodes are short."""
    load_suite = program.load_suite

    def load_short(path):
        suite = load_suite(path)
        task, options = Task(env="gym/Pendulum-v1"), {"preset": "cpu"}
        return replace(suite, tasks=(task,), methods=suite.methods[:1], options=options)

    monkeypatch.setattr(program, "load_suite", load_short)
    monkeypatch.setattr(program, "SHORT", program.SHORT | {"steps": 1_100, "eval_every": 1_100})


@pytest.mark.usefixtures("short_suite")
def test_the_suite_is_run_with_its_seeds_together_and_goes_on(program, tmp_path):
    options = program.Options(
        device="cpu", quick=True, sections=("suite",), seeds=2,
        records=tmp_path / "records", runs=tmp_path / "runs",
    )  # fmt: skip
    assert program.main(options) == 0
    records = sorted((tmp_path / "records").glob("*.json"))
    assert [path.stem for path in records] == [f"gym-Pendulum-v1_pebble_{seed}" for seed in (0, 1)]
    results = [Result.load(path) for path in records]
    assert [(result.seed, result.suite) for result in results] == [
        (0, "online-gpu"), (1, "online-gpu"),
    ]  # fmt: skip
    assert all(result.seeds_together == 2 for result in results)
    assert all(result.labels_given == 4 for result in results)
    records[0].unlink()
    assert program.main(options) == 0
    assert Result.load(records[0]).score == results[0].score


def test_a_failed_test_ends_it(program, monkeypatch):
    monkeypatch.setattr(program, "_run", lambda *words: 1)
    assert program.main(program.Options(device="cpu", quick=True)) == 1


def test_the_fastest_way_and_the_best_row_count(program, load):
    row = load("speed.measure").Row

    def update(way, milliseconds, is_met):
        return row(
            section="updates", case="SAC", contender=way, milliseconds=milliseconds, is_met=is_met
        )

    rows = [
        update("eager, float32", 2.0, False),
        update("graph, float32", 0.5, True),
        update("compiled, float32", 1.0, False),
        update("compiled, bfloat16", 0.1, True),
    ]
    assert program.fastest(rows) == "graph"
    assert program.fastest([]) == "eager"
    assert [found.contender for found in program.best(rows)] == ["graph, float32"]


def test_a_later_call_takes_the_way_that_was_fastest(program, tmp_path):
    path = tmp_path / "gpu.json"
    options = program.Options(device="cpu", quick=True, output=path)
    assert program.chosen_way([], options) == "eager"
    row = {
        "section": "updates", "case": "SAC", "contender": "compiled, float32", "milliseconds": 1.0,
    }  # fmt: skip
    path.write_text(json.dumps({"device": "cpu", "rows": [row]}))
    assert program.chosen_way([], options) == "compiled"
    assert program.chosen_way([], replace(options, device="cuda")) == "eager"


@pytest.mark.usefixtures("short_suite")
def test_a_run_that_goes_on_keeps_its_way_of_making_updates(program, tmp_path, load, monkeypatch):
    together = load("speed.suite_together")
    suite = program.load_suite(program.ROOT / "benchmarks" / "suites" / "online-gpu.toml")
    (run, *_), records = suite.runs(), program.Records(tmp_path / "records")
    (tmp_path / run.name).mkdir()
    (tmp_path / run.name / "config.json").write_text('{"updates": "compiled"}')
    given = []

    def train_seeds(config, folders, *, resume):
        given.append((config.updates, resume))
        raise InterruptedError

    monkeypatch.setattr(together, "train_seeds", train_seeds)
    with pytest.raises(InterruptedError):
        together.run_together(suite, records, tmp_path)
    assert given == [("compiled", True)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_how_to_try_it(program):
    with pytest.raises(SystemExit, match="no CUDA device .*--device cpu --quick tries the program"):
        program.main(program.Options())


def test_the_page_names_the_gpu(load):
    program = load("speed.program")
    record = {"machine": {"cpu": "Xeon", "gpu": "H200"}}
    assert program.where(record) == "Xeon"
    assert program.where(record | {"device": "cuda"}) == "H200, Xeon"


def test_no_more_is_repeated_than_is_allowed(load):
    counts = []
    load("speed.measure").time_in_turns({"one": counts.append}, 2, 0.2, 5)
    assert counts == [1, 1, 5, 5]
