from pathlib import Path

import numpy as np
import pytest
import tyro

from pbrl.commands import evaluate
from pbrl.commands import fit as module
from pbrl.commands.fit import FitOptions, configure, main, prepare
from pbrl.offline.dataset import DatasetInfo
from pbrl.training.files import write_json
from pbrl.training.fit import fit
from pbrl.training.offline_presets import Facts
from pbrl.training.result import Result

FACTS = Facts(
    info=DatasetInfo(name="hopper-medium-v2", family="d4rl", env="gym/Hopper-v5"),
    segment_steps=100,
    num_labels=500,
)


def test_every_number_has_an_option():
    config = configure(
        FitOptions(dataset="hopper.hdf5", labels=("labels",), agent="p-iql"),
        FACTS,
        ["--steps", "123", "--method.expectile", "0.9", "--reward.learning.passes", "7"],
    )
    assert (config.dataset, config.labels, config.steps) == ("hopper.hdf5", "labels", 123)
    assert config.method.expectile == 0.9
    assert config.reward.learning.passes == 7


def test_names_choose_the_parts():
    options = FitOptions(
        dataset="d4rl:data/hopper.hdf5", agent="iql", preset="pt", control="none", seed=3
    )
    assert configure(options, FACTS).steps == 1_000_000
    assert options.folder == Path("runs/data/hopper/iql-3")
    flipped = FitOptions(dataset="minari:mujoco/hopper/expert-v0", control="flipped-labels")
    assert flipped.folder == Path("runs/mujoco/hopper/expert-v0/cpl-flipped-labels-0")


@pytest.mark.parametrize(
    ("dataset", "place"),
    [
        ("hopper_medium_expert-v2.hdf5", "hopper_medium_expert-v2"),
        ("ada/labels.npz", "ada/labels"),
        ("./ben/labels.npz", "ben/labels"),
        ("../ben/labels.npz", "ben/labels"),
        ("/home/ada/data/drawer/scripted-v1.5", "drawer/scripted-v1.5"),
        ("run:runs/dmc/walker-walk/qpa-0", "runs/dmc/walker-walk/qpa-0"),
        ("/labels.npz", "labels"),
    ],
)
def test_files_of_one_name_in_two_folders_have_runs_of_their_own(dataset, place):
    assert FitOptions(dataset=dataset).folder == Path("runs") / place / "cpl-0"


def test_labels_are_one_file():
    assert FitOptions(dataset="x").label_source is None
    with pytest.raises(ValueError, match="one file or folder, got a b"):
        FitOptions(dataset="x", labels=("a", "b"))


def test_unknown_words_are_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        configure(FitOptions(dataset="x"), FACTS, ["--method.expectle", "0.9"])
    assert stop.value.code == 2
    assert "expectle" in capsys.readouterr().err


def test_the_options_of_a_method_are_listed_without_its_data(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["nowhere.npz", "--agent", "iql", "--show-options"])
    assert stop.value.code == 0
    assert "--method.expectile" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"nowhere\.npz"):
        main(["nowhere.npz", "--agent", "bc"])


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["nowhere.npz"], "there is no dataset nowhere.npz"),
        (["npz:nowhere.npz"], "there is no dataset nowhere.npz"),
        (["PAIRS", "no-labels.npz"], "no such file or folder of labels: 'no-labels.npz'"),
    ],
)
def test_what_is_missing_is_named_also_where_the_folder_is_taken(pairs, tmp_path, words, missing):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    words = [str(pairs) if word == "PAIRS" else word for word in words]
    with pytest.raises((ValueError, FileNotFoundError), match=missing):
        main([*words, "--agent", "bc", "--out", str(tmp_path / "run")])
    config = configure(FitOptions(dataset=words[0], labels=tuple(words[1:])), FACTS)
    with pytest.raises((ValueError, FileNotFoundError), match=missing):
        fit(config, tmp_path / "run")


@pytest.fixture
def pairs(tmp_path):
    """A file of labelled pairs that holds its segments: the larger action is preferred."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.9, 0.9, (2, 40, 1, 1)) + np.zeros((2, 40, 12, 1))
    path = tmp_path / "walks.npz"
    np.savez(
        path,
        obs_1=rng.normal(size=(40, 12, 3)),
        obs_2=rng.normal(size=(40, 12, 3)),
        action_1=actions[0],
        action_2=actions[1],
        label=(actions[1] > actions[0])[:, 0, 0].astype(float),
    )
    return path


TINY = [
    "--steps", "40", "--eval-every", "20", "--log-every", "10", "--checkpoint-every", "20",
    "--method.policy.hidden-sizes", "16",
]  # fmt: skip


def test_a_file_of_pairs_is_enough(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RUNS", tmp_path / "runs")
    words = ["--agent", "cpl", *TINY, "--method.pretraining-updates", "10"]
    main([str(pairs), *words])
    folder = tmp_path / "runs" / tmp_path.name / "walks" / "cpl-0"
    result = Result.load(folder / "result.json")
    assert (result.env, result.score_name, result.labels_given) == (None, "label_accuracy", 40)
    assert (folder / "curves.png").exists()
    main([str(pairs), "--agent", "p-iql", *TINY, "--reward.learning.passes", "2"])


def test_a_policy_can_be_rolled_out_again(pairs, tmp_path, capsys):
    folder = tmp_path / "run"
    words = ["--data.env", "gym/Pendulum-v1", "--eval-episodes", "1", "--normalize-observations"]
    main([str(pairs), "--agent", "sft", "--out", str(folder), *TINY, *words])
    assert Result.load(folder / "result.json").score_name == "return"
    capsys.readouterr()
    evaluate.main([str(folder), "--episodes", "2"])
    assert "sft on gym/Pendulum-v1, 2 episodes" in capsys.readouterr().out


def test_a_resumed_run_keeps_its_own_configuration(pairs, tmp_path):
    options = FitOptions(dataset=str(pairs), agent="sft", seed=7, out=tmp_path / "run")
    first, _ = prepare(options, ["--steps", "33"])
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / "config.json", first)
    resumed = FitOptions(dataset=str(pairs), agent="sft", out=tmp_path / "run", resume=True)
    assert prepare(resumed)[0] == first
    with pytest.raises(FileExistsError, match="already holds a run"):
        prepare(options)


@pytest.mark.parametrize(
    ("words", "difference"),
    [
        (["--agent", "cpl"], 'agent: "sft" -> "cpl"'),
        (["--preset", "paper"], 'preset: "cpu" -> "paper"'),
        (["--control", "none"], 'control: "flipped-labels" -> "none"'),
        (["--seed", "0"], "seed: 7 -> 0"),
        (["--data.env", "gym/Pendulum-v1"], 'data.env: null -> "gym/Pendulum-v1"'),
        (["other-labels.npz"], 'labels: null -> "other-labels.npz"'),
    ],
)
def test_a_resumed_run_refuses_options_that_say_otherwise(pairs, tmp_path, words, difference):
    own = ["--agent", "sft", "--seed", "7", "--control", "flipped-labels"]
    there = ["--out", str(tmp_path / "run")]

    def read(*words):
        options, rest = tyro.cli(FitOptions, args=list(words), return_unknown_args=True)
        return prepare(options, rest, words)[0]

    first = read(str(pairs), *own, *there)
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / "config.json", first)
    with pytest.raises(ValueError, match=r"\(stored -> now\)") as refused:
        read(str(pairs), *words, *there, "--resume")
    assert difference in str(refused.value)
    with pytest.raises(ValueError, match='dataset: ".*" -> "other.npz"'):
        read("other.npz", *there, "--resume")
    assert read(str(pairs), *own, *there, "--resume") == first
