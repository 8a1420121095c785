from pathlib import Path

import pytest
import tyro

from pbrl.commands.train import TrainOptions, configure
from pbrl.training.suites import load_suite

SUITES = sorted((Path(__file__).parents[1] / "benchmarks" / "suites").glob("*.toml"))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_run_of_a_suite_is_one_that_train_accepts(path, tmp_path):
    suite = load_suite(path)
    for run in suite.runs()[: len(suite.tasks) * len(suite.methods)]:  # the first seed's
        verb, *words = run.words(tmp_path / run.name, resume=False)
        assert verb == "train"
        options, rest = tyro.cli(TrainOptions, args=words, return_unknown_args=True)
        config = configure(options, rest)
        assert (config.env, config.agent, config.suite) == (run.env, run.agent, suite.name)
        assert (config.preferences is None) == (run.agent == "sac")
