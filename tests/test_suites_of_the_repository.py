from pathlib import Path

import pytest
import tyro

from pbrl.commands import fit, train
from pbrl.offline.dataset import DatasetInfo
from pbrl.training.offline_presets import Facts
from pbrl.training.suites import load_suite

SUITES = sorted((Path(__file__).parents[1] / "benchmarks" / "suites").glob("*.toml"))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_run_of_a_suite_is_one_that_its_verb_accepts(path, tmp_path):
    suite = load_suite(path)
    for run in suite.runs()[: len(suite.tasks) * len(suite.methods)]:  # the first seed's
        verb, *words = run.words(tmp_path / "run", resume=False)
        if verb == "train":
            options, rest = tyro.cli(train.TrainOptions, args=words, return_unknown_args=True)
            config = train.configure(options, rest)
            assert config.env == run.task.env
            assert (config.preferences is None) == (run.method.agent in ("sac", "taco"))
            assert config.agent in (run.method.agent, run.agent)  # as an option may name it
        else:
            options, rest = tyro.cli(fit.FitOptions, args=words, return_unknown_args=True)
            info = DatasetInfo(name=Path(options.dataset).stem, family="", env=options.data.env)
            facts = Facts(info=info, segment_steps=64, num_labels=1_000)
            config = fit.configure(options, facts, rest)
            assert (verb, config.dataset) == ("fit", run.task.dataset)
            assert (config.labels, config.control) == (run.labels, run.control)
            assert config.agent == run.method.agent
        assert config.suite == suite.name
