from dataclasses import replace

import pytest

from pbrl.commands.evaluate import main
from pbrl.training.presets import make_config
from pbrl.training.run import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = make_config("gym/Pendulum-v1", "sac", preset="cpu")
    config = replace(config, steps=40, seed_steps=30, batch_size=8, eval_every=40, eval_episodes=1)
    folder = tmp_path_factory.mktemp("runs") / "sac"
    train(config, folder)
    return folder


def test_the_policy_is_rolled_out_the_same_with_the_same_seed(run, capsys):
    outputs = []
    for _ in range(2):
        main([str(run), "--episodes", "3", "--seed", "5"])
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert "sac on gym/Pendulum-v1, 3 episodes, seed 5" in outputs[0]
    assert "| length      | 200.0" in outputs[0]


def test_other_seeds_give_other_episodes(run, capsys):
    main([str(run), "--episodes", "1", "--seed", "5"])
    first = capsys.readouterr().out.splitlines()[1:]
    main([str(run), "--episodes", "1"])
    assert capsys.readouterr().out.splitlines()[1:] != first


def test_a_folder_without_a_run_is_refused(tmp_path):
    wrote = "give one that `pbrl train` or `pbrl fit` wrote"
    with pytest.raises(FileNotFoundError, match=f"no config.json; {wrote}"):
        main([str(tmp_path)])
    with pytest.raises(FileNotFoundError, match=f"absent is not .*no such folder; {wrote}"):
        main([str(tmp_path / "absent")])


def test_the_run_beside_what_was_given_is_named(run, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"checkpoint is not .*give {run}$"):
        main([str(run / "checkpoint")])
    with pytest.raises(FileNotFoundError, match=f"give {run}$"):
        main([str(run / "result.json")])
    (tmp_path / "task" / "sac-3").mkdir(parents=True)
    (tmp_path / "task" / "sac-3" / "config.json").touch()
    with pytest.raises(FileNotFoundError, match="holds runs, such as .*task/sac-3$"):
        main([str(tmp_path)])


def test_there_is_at_least_one_episode(run, capsys):
    with pytest.raises(SystemExit) as stop:
        main([str(run), "--episodes", "0"])
    assert stop.value.code == 2
    assert "must be at least" in capsys.readouterr().err


def test_a_video_that_cannot_be_written_is_refused_before_any_episode(run, capsys, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="exists|Not a directory"):
        main([str(run), "--video", str(tmp_path / "file" / "a.mp4")])
    assert "true return" not in capsys.readouterr().out


def test_a_video_of_an_unknown_format_is_refused_before_any_episode(run, capsys):
    with pytest.raises(SystemExit):
        main([str(run), "--video", "x.foo"])
    said = capsys.readouterr()
    assert "a video ends in .mp4 or .gif, got 'x.foo'" in said.err
    assert "true return" not in said.out
