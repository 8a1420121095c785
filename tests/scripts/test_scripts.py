"""Every program in scripts/ starts, does its work on something small, and stops."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pbrl.commands import credit

ROOT = Path(__file__).parents[2]
TINY = [
    "--steps", "500", "--eval-every", "250", "--eval-episodes", "1", "--batch-size", "32",
    "--sac.hidden-sizes", "16", "16", "--seed-steps", "50", "--log-every", "100",
    "--preferences.schedule.first-step", "200", "--preferences.schedule.interval", "100",
    "--preferences.schedule.budget", "10", "--preferences.schedule.session-size", "5",
]  # fmt: skip


def run(*words: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one small run in it."""
    folder = tmp_path_factory.mktemp("scripts")
    script = str(ROOT / "scripts" / "train.py")
    output = run(script, "gym/Pendulum-v1", "--agent", "pebble", *TINY, cwd=folder)
    assert "curves.png" in output
    return folder


def test_train_writes_a_run(folder):
    result = json.loads((folder / "runs/gym/Pendulum-v1/pebble-0/result.json").read_text())
    assert (result["agent"], result["steps"], result["labels_given"]) == ("pebble", 500, 10)
    assert (folder / "runs/gym/Pendulum-v1/pebble-0/curves.png").stat().st_size > 5_000


def test_evaluate_prints_a_table_and_writes_a_video(folder):
    script = str(ROOT / "scripts" / "evaluate.py")
    words = ("runs/gym/Pendulum-v1/pebble-0", "--episodes", "2", "--video", "clip.gif")
    output = run(script, *words, cwd=folder)
    assert "true return" in output
    assert (folder / "clip.gif").stat().st_size > 10_000


def test_credit_draws_what_a_reward_pays(folder):
    words = ("runs/gym/Pendulum-v1/pebble-0", "--length", "20", "--out", "paid.png")
    run(str(ROOT / "scripts" / "credit.py"), *words, cwd=folder)
    assert (folder / "paid.png").stat().st_size > 5_000
    words = ["--start", "150", "--length", "60", "--out", str(folder / "end.png")]  # of 200 steps
    with pytest.warns(RuntimeWarning, match="ends after step 200: 50 of the 60 steps of --length"):
        credit.main([str(folder / "runs/gym/Pendulum-v1/pebble-0"), *words])


def test_every_program_is_run_by_a_test():
    elsewhere = {"label_with_model.py": ROOT / "tests/queries/human/test_vision_language.py"}
    for script in (ROOT / "scripts").glob("*.py"):
        tests = elsewhere.get(script.name, Path(__file__)).read_text(encoding="utf-8")
        assert f'"{script.name}"' in tests, f"no test runs {script.name}"


def test_list_names_the_agents():
    assert "Implicit Q-Learning" in run(str(ROOT / "scripts" / "list.py"), "agents", cwd=ROOT)


def test_plot_draws_the_runs_of_a_folder(folder):
    output = run(str(ROOT / "scripts" / "plot.py"), "runs", "--out", "all.svg", cwd=folder)
    assert "pebble" in output
    assert (folder / "all.svg").read_text().startswith("<?xml")


def test_label_reports_what_a_file_holds(tmp_path):
    (tmp_path / "labels.csv").write_text("start_0,start_1,length,label\n0,9,5,1\n3,7,5,0.5\n")
    output = run(str(ROOT / "scripts" / "label.py"), "report", "labels.csv", cwd=tmp_path)
    assert "2 pairs of 4 segments" in output


def test_a_dataset_is_collected_labelled_and_described(folder):
    words = ("gym/Pendulum-v1", "runs/gym/Pendulum-v1/pebble-0:noise=0.2", "random", "--root", ".")
    small = ("--episodes", "4", "--max-episode-steps", "20", "--name", "mixed-v0")
    assert "mixed-v0" in run(str(ROOT / "scripts" / "collect.py"), *words, *small, cwd=folder)
    label = str(ROOT / "scripts" / "label.py")
    words = ("simulate", "mixed-v0", "--out", "labels.npz", "--segments", "5", "--length", "10")
    output = run(label, *words, "--score", "return", cwd=folder)
    assert "5 segments of 10 steps by return" in output
    dataset = str(ROOT / "scripts" / "dataset.py")
    words = ("report", "mixed-v0", "--policy", "runs/gym/Pendulum-v1/pebble-0", "--no-fqe")
    output = run(dataset, *words, "--episodes", "1", "--out", "report", cwd=folder)
    assert "4 episodes of 80 steps" in output
    assert "policy, rolled out" in output
    assert (folder / "report" / "returns.svg").exists()


def test_benchmark_runs_a_suite_of_ones_own(folder):
    options = {word.removeprefix("--"): value for word, value in zip(TINY, TINY[1:], strict=False)}
    options = {k: v for k, v in options.items() if not k[0].isdigit() and "hidden" not in k}
    lines = [f'"{name}" = {value}' for name, value in options.items() if "." not in name]
    labels = [f'"{name}" = {value}' for name, value in options.items() if "." in name]
    suite = folder / "small.toml"
    suite.write_text(
        'title = "Small"\nseeds = [0]\n'
        f"options = {{ {', '.join(lines)} }}\n"
        f'[[tasks]]\nenv = "gym/Pendulum-v1"\nlabel_options = {{ {", ".join(labels)} }}\n'
        '[[methods]]\nagent = "sac"\n[[methods]]\nagent = "qpa"\ncontrol = "flipped-labels"\n'
    )
    (folder / "docs").mkdir()
    script = str(ROOT / "scripts" / "benchmark.py")
    run(script, str(suite), "--workers", "2", cwd=folder)
    records = sorted((folder / "benchmarks" / "results" / "small").glob("*.json"))
    assert len(records) == 2
    assert json.loads(records[0].read_text())["control"] == "flipped-labels"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A folder with a file of labelled pairs in it."""
    folder, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    np.savez(
        folder / "walks.npz",
        obs_1=rng.normal(size=(20, 8, 3)),
        obs_2=rng.normal(size=(20, 8, 3)),
        action_1=rng.uniform(-0.9, 0.9, (20, 8, 1)),
        action_2=rng.uniform(-0.9, 0.9, (20, 8, 1)),
        label=rng.integers(0, 2, 20).astype(float),
    )
    return folder


TINY_FIT = {"steps": 20, "eval-every": 10, "log-every": 10, "method.batch-size": 4}


def test_fit_writes_a_run(pairs):
    words = [word for name, value in TINY_FIT.items() for word in (f"--{name}", str(value))]
    script = str(ROOT / "scripts" / "fit.py")
    output = run(script, "walks.npz", "--agent", "sft", *words, cwd=pairs)
    assert "curves.png" in output
    result = json.loads((pairs / "runs/walks/sft-0/result.json").read_text())
    assert (result["agent"], result["env"], result["steps"]) == ("sft", None, 20)


def test_benchmark_runs_a_suite_of_datasets(pairs):
    options = ", ".join(f'"{name}" = {value}' for name, value in TINY_FIT.items())
    (pairs / "offline.toml").write_text(
        f'title = "Offline"\nseeds = [0]\noptions = {{ {options} }}\n'
        '[[tasks]]\ndataset = "walks.npz"\nname = "walks"\n'
        '[[methods]]\nagent = "sft"\n[[methods]]\nagent = "sft"\ncontrol = "flipped-labels"\n'
    )
    (pairs / "docs").mkdir()
    run(str(ROOT / "scripts" / "benchmark.py"), "offline.toml", "--workers", "2", cwd=pairs)
    records = sorted((pairs / "benchmarks" / "results" / "offline").glob("*.json"))
    assert [record.name for record in records] == [
        "walks_sft_0.json",
        "walks_sft_flipped-labels_0.json",
    ]
    assert json.loads(records[1].read_text())["dataset"] == "walks"
    table = (pairs / "docs" / "benchmarks.md").read_text()
    assert "| dataset" in table
    assert "sft, flipped-labels" in table


def test_the_demonstration_ends_in_a_table_a_curve_and_a_video(tmp_path):
    script = str(ROOT / "scripts" / "demo.py")
    words = ("--env", "gym/Pendulum-v1", "--steps", "2100", "--out", "demo")
    output = run(script, *words, cwd=tmp_path)
    assert "random" in output
    assert (tmp_path / "demo" / "curves.png").exists()
    assert list((tmp_path / "demo").glob("policy.*"))
