import minari
import pytest

from pbrl.commands.collect import CollectOptions, configure, default_name, main
from pbrl.offline.collect.sources import Source


def test_the_words_become_a_configuration():
    options = CollectOptions(
        env="metaworld/drawer-open-v3-cpl",
        policies=("scripted:noise=0.3,share=2", "random"),
        steps=1_000,
        warm_up="random",
        warm_up_steps=10,
        expert="scripted",
    )
    config = configure(options)
    assert config.sources == (
        Source(policy="scripted", noise=0.3, share=2.0),
        Source(policy="random"),
    )
    assert (config.budget, config.unit) == (1_000, "steps")
    assert (config.warm_up, config.expert) == (Source(policy="random"), Source(policy="scripted"))
    assert default_name(config) == "metaworld/drawer-open-v3-cpl/scripted-random-v0"


def test_a_mixture_names_the_dataset():
    options = CollectOptions(
        env="gym/Hopper-v5", policies=("runs/m", "runs/e"), mixture="medium-expert"
    )
    config = configure(options)
    assert [source.stochastic for source in config.sources] == [True, True]
    assert (config.budget, config.unit) == (100, "episodes")
    assert default_name(config) == "gym/Hopper-v5/medium-expert-v0"
    assert configure(CollectOptions(env="gym/Hopper-v5")).sources == (Source(policy="random"),)


def test_a_dataset_is_collected_and_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    main(["gym/Pendulum-v1", "--episodes", "2", "--max-episode-steps", "10"])
    assert "gym/Pendulum-v1/random-v0" in capsys.readouterr().out
    assert minari.load_dataset("gym/Pendulum-v1/random-v0").total_steps == 20
    main(["gym/Pendulum-v1", "--steps", "15", "--max-episode-steps", "10",
          "--root", str(tmp_path / "other"), "--name", "mine-v1"])  # fmt: skip
    assert (tmp_path / "other" / "mine-v1" / "data" / "metadata.json").exists()


def test_names_that_minari_would_not_find_are_refused(tmp_path):
    for name in ("no-version", "../up-v0", "a b-v0", "/abs-v0"):
        with pytest.raises(ValueError, match="name must look like"):
            main(["gym/Pendulum-v1", "--root", str(tmp_path), "--name", name])
