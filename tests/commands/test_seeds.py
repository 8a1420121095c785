from pathlib import Path

import pytest

from pbrl.commands import fit as fit_module
from pbrl.commands import train as train_module
from pbrl.commands.fit import FitOptions
from pbrl.commands.seeds import parse_seeds, seed_folders
from pbrl.commands.train import TrainOptions
from pbrl.training.result import Result
from tests.training.point_mass import make_data


def test_seeds_are_a_range_or_a_list():
    assert parse_seeds("0:4") == (0, 1, 2, 3)
    assert parse_seeds("3,0,12") == (3, 0, 12)
    assert parse_seeds("7") == (7,)


@pytest.mark.parametrize("text", ["", "4:4", "5:2", "1,1", "a", "0-3", "1,", "-1", "0:2,5"])
def test_other_words_are_refused(text):
    with pytest.raises(ValueError, match="seeds must be a range"):
        parse_seeds(text)


def test_each_seed_has_a_folder():
    assert seed_folders(Path("runs/x"), (2, 5)) == {2: Path("runs/x-2"), 5: Path("runs/x-5")}
    options = FitOptions(dataset="d/hopper.hdf5", agent="cpl", seeds="0:2")
    assert list(options.folders.values()) == [Path(f"runs/d/hopper/cpl-{seed}") for seed in (0, 1)]
    online = TrainOptions(env="dmc/walker-walk", agent="qpa", seeds="4,6")
    names = [path.as_posix() for path in online.folders.values()]
    assert names == ["runs/dmc/walker-walk/qpa-4", "runs/dmc/walker-walk/qpa-6"]


def test_what_does_not_go_with_several_seeds():
    with pytest.raises(ValueError, match="not both"):
        FitOptions(dataset="x", seeds="0:2", seed=3)
    with pytest.raises(ValueError, match="--video is for one seed"):
        TrainOptions(env="x", seeds="0:2", video=True)
    with pytest.raises(ValueError, match="one seed at a time"):
        TrainOptions(env="x", seeds="0:2", teacher="human")


def test_fit_of_several_seeds_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fit_module, "load_data", lambda *_: make_data(num_pairs=40))
    monkeypatch.setattr(fit_module, "check_there", lambda *_: None)
    words = ["x", "y", "--agent", "sft", "--seeds", "0:2", "--out", str(tmp_path / "run")]
    words += ["--steps", "20", "--eval-every", "10", "--eval-episodes", "2", "--log-every", "10"]
    words += ["--method.policy.hidden-sizes", "8", "--method.segment-steps", "5"]
    fit_module.main(words)
    results = [Result.load(tmp_path / f"run-{seed}" / "result.json") for seed in (0, 1)]
    assert [result.seed for result in results] == [0, 1]
    shown = capsys.readouterr().out
    assert "seed 0: normalized_return" in shown
    assert "2 seeds per method" in shown
    assert (tmp_path / "run-curves.png").stat().st_size > 1000
    with pytest.raises(FileExistsError):
        fit_module.main(words)
    fit_module.main([*words, "--resume"])


def test_train_of_several_seeds_from_the_command_line(tmp_path, capsys):
    words = ["gym/Pendulum-v1", "--agent", "sac", "--seeds", "0,2", "--out", str(tmp_path / "run")]
    words += ["--steps", "40", "--seed-steps", "30", "--eval-every", "40", "--eval-episodes", "1"]
    words += ["--sac.hidden-sizes", "8", "--batch-size", "8"]
    train_module.main(words)
    assert {path.name for path in tmp_path.iterdir()} == {"run-0", "run-2", "run-curves.png"}
    assert "seed 2: return" in capsys.readouterr().out
