import pytest

from pbrl.commands.label.simulate import SimulateOptions, summary
from pbrl.commands.label.words import main
from pbrl.feedback import FeedbackStore
from pbrl.training.collect import collect
from pbrl.training.collect_config import CollectConfig


def test_pairs_from_the_command_line(tmp_path, capsys, terminal):
    config = CollectConfig(env="gym/Pendulum-v1", episodes=4, max_episode_steps=20)
    data = collect(config, tmp_path, "pendulum-v0")
    out = tmp_path / "labels.npz"
    main(["simulate", str(data), "--out", str(out), "--pairs", "6", "--length", "5",
          "--score", "regret", "--value.updates", "10"])  # fmt: skip
    assert FeedbackStore.load(out).num_labelled == 6
    printed = capsys.readouterr().out
    assert "6 pairs, 0 ties, 0 skips of 5 steps by regret, for the dataset pendulum-v0" in printed
    assert "value fitted to pendulum-v0" in printed
    shown = terminal.getvalue()
    assert f"reading {data}"[:20] in shown
    assert "fitting the value of states" in shown


def test_an_unknown_teacher_is_refused_with_the_nearest(tmp_path):
    options = SimulateOptions(dataset="x", out=tmp_path / "x.npz", pairs=3, teacher="orakle")
    with pytest.raises(ValueError, match="did you mean 'oracle'"):
        options.config()


def test_the_summary_names_an_oracle(tmp_path):
    record = {
        "counts": {"segments": 2_500},
        "config": {"length": 64, "score": {"score": "regret"}},
        "dataset": {"name": "drawer-v0"},
        "agreement_with_return": 0.715,
        "value": {"critics": "runs/sac-0"},
    }
    lines = summary(record, tmp_path / "x.npz").splitlines()
    assert lines[0].endswith("2,500 segments of 64 steps by regret, for the dataset drawer-v0")
    assert lines[1:] == [
        "order of random pairs as by return: 71.5%",
        "value by the critics of runs/sac-0",
    ]
