"""Checks of configurations: the first field that does not hold is named, with what came."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from pbrl.checks import check_fields, check_seed
from pbrl.commands.credit import CreditOptions
from pbrl.commands.dataset.report import ReportOptions as DatasetReportOptions
from pbrl.commands.evaluate import EvaluateOptions
from pbrl.commands.fit import FitOptions
from pbrl.commands.label.report import ReportOptions
from pbrl.commands.train import TrainOptions
from pbrl.queries.human.plans import DrawConfig
from pbrl.randomness import Generators, derived_seed
from pbrl.training.collect_config import CollectConfig
from pbrl.training.label_simulation import SimulationConfig
from pbrl.training.label_transfer import Sources, TransferConfig, transfer_files


def test_what_holds_passes():
    check_fields(SimpleNamespace(rate=0.1), ("rate", "above 0", True))


def test_the_first_that_does_not_hold_is_named_with_what_is_legal_and_what_came():
    config = SimpleNamespace(rate=0.1, kind="quick", size=0)
    with pytest.raises(ValueError, match=r"^kind must be slow, got 'quick'$"):
        check_fields(
            config,
            ("rate", "above 0", True),
            ("kind", "slow", False),
            ("size", "at least 1", False),
        )


@pytest.mark.parametrize(
    "make",
    [
        check_seed,
        lambda seed: Generators(seed, ("a",)),
        derived_seed,
        lambda seed: DrawConfig(seed=seed),
        lambda seed: CollectConfig(env="gym/Pendulum-v1", episodes=1, seed=seed),
        lambda seed: SimulationConfig(seed=seed),
        lambda seed: transfer_files(
            Sources("a", None, "b"), TransferConfig(), Path("x.npz"), seed=seed
        ),
        lambda seed: FitOptions(dataset="x", seed=seed),
        lambda seed: TrainOptions(env="x", seed=seed),
        lambda seed: EvaluateOptions(run=Path("x"), seed=seed),
        lambda seed: CreditOptions(run=Path("x"), seed=seed),
        lambda seed: ReportOptions(labels=Path("x"), seed=seed),
        lambda seed: DatasetReportOptions(dataset="x", seed=seed),
    ],
)
def test_a_seed_below_0_is_refused_wherever_one_is_given(make):
    with pytest.raises(ValueError, match="^seed must be a whole number from 0 on, got -1$"):
        make(-1)
