import pytest

from pbrl.commands.dataset.words import main
from pbrl.training.collect import collect
from pbrl.training.collect_config import CollectConfig


def test_a_dataset_is_described_from_the_command_line(tmp_path, capsys):
    config = CollectConfig(env="gym/Pendulum-v1", episodes=3, max_episode_steps=10)
    data = collect(config, tmp_path, "pendulum-v0")
    main(["report", str(data), "--out", str(tmp_path / "report")])
    printed = capsys.readouterr().out
    assert "3 episodes of 30 steps" in printed
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == [
        "report.json", "report.md", "returns.svg",
    ]  # fmt: skip


def test_a_dataset_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="there is no dataset"):
        main(["report", str(tmp_path / "nothing")])
