"""`pbrl label simulate`: labels from a dataset's true rewards."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from pbrl.commands.waiting import waiting_bar
from pbrl.lookup import look_up
from pbrl.offline.segment_scores import ScoreName
from pbrl.offline.simulate import ScoreConfig
from pbrl.offline.values import ValueConfig
from pbrl.queries.simulated import TEACHERS
from pbrl.training.label_simulation import SimulationConfig, simulate_labels


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """Label segments of a dataset by return or by regret.

    Without `--pairs` every segment gets a score, of which any two make a pair; with it a simulated
    teacher answers so many pairs. Regret needs values of states: the critics of an oracle
    (`--value-from`), or a value function fitted to episodes (`--value-data`), by default to the
    dataset itself.

    Attributes:
        dataset: what to label, such as minari:hopper/medium-v0 or a path.
        out: the labels, .npz; a .json beside it says what they rest on.
        score: return, discounted-return, regret (CPL's rule) or discounted-regret.
        discount: gamma of the discounted scores and of the fitted value.
        segments: how many segments get a score.
        pairs: how many pairs a teacher answers instead.
        length: steps of a segment.
        teacher: oracle, noisy, mistake, skip, myopic or equal.
        value_from: run, checkpoint or SAC file of stable-baselines3.
        value_data: dataset of whoever is to count as optimal.
        value: the regression of the values.
        seed: of everything that is drawn.
    """

    dataset: Annotated[str, tyro.conf.Positional]
    out: Path
    score: ScoreName = "regret"
    discount: float = 0.99
    segments: int = 2_500
    pairs: int | None = None
    length: int = 64
    teacher: str = "oracle"
    value_from: Path | None = None
    value_data: str | None = None
    value: ValueConfig = field(default_factory=ValueConfig)
    seed: int = 0

    def config(self) -> SimulationConfig:
        """Return which labels to make."""
        look_up("teacher", self.teacher, TEACHERS)
        return SimulationConfig(
            score=ScoreConfig(score=self.score, discount=self.discount),
            segments=self.segments,
            pairs=self.pairs,
            length=self.length,
            teacher=self.teacher,
            value_from=self.value_from,
            value_data=self.value_data,
            value=self.value,
            seed=self.seed,
        )


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl label simulate` with the words after it.

    Raises:
        ValueError: if the dataset and the options do not fit.
    """
    options = tyro.cli(
        SimulateOptions,
        args=list(arguments),
        prog="pbrl label simulate",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    config = options.config()
    with waiting_bar() as bar:
        task = bar.add_task(f"reading {options.dataset}", total=None)

        def show(done: int) -> None:
            bar.update(
                task,
                description="fitting the value of states",
                completed=done,
                total=config.value.updates,
                refresh=done == 1,
            )

        record = simulate_labels(options.dataset, config, options.out, show)
    Console(soft_wrap=True).print(summary(record, options.out), markup=False, highlight=False)


def summary(record: dict[str, Any], out: Path) -> str:
    """Return in a few lines what was written."""
    counts = ", ".join(f"{count:,} {what}" for what, count in record["counts"].items())
    config = record["config"]
    lines = [
        f"{out}: {counts} of {config['length']} steps by {config['score']['score']}, "
        f"for the dataset {record['dataset']['name']}",
        f"order of random pairs as by return: {record['agreement_with_return']:.1%}",
    ]
    value = record["value"]
    if value and "explained_variance" in value:
        lines.append(
            f"value fitted to {value['dataset']}: explains {value['explained_variance']:.1%} of "
            "the variance of returns"
        )
    elif value:
        lines.append(f"value by the critics of {value['critics']}")
    return "\n".join(lines)
