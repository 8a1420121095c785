"""`pbrl train`: learn online, from preferences or from true reward."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pbrl.training.config import Control, TrainConfig
from pbrl.training.decode import decode
from pbrl.training.presets import Preset, make_config
from pbrl.training.run_folder import read_config

RUNS = Path("runs")


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Learn online from preferences, or from the true reward.

    Every number of the configuration has an option of its own as well: `--steps 50000`,
    `--preferences.schedule.budget 200`, `--sac.discount 0.98`. `--show-options` lists them.

    Attributes:
        env: environment id, such as dmc/walker-walk, metaworld/window-open-v3 or gym/Pendulum-v1.
        agent: sac learns from true reward (the oracle), pebble and qpa from preferences.
        preset: sizes that two cores manage, the numbers of the method's own code, or those of the
            one protocol of PPE (NeurIPS 2025).
        teacher: the simulated teacher: oracle, noisy, mistake, skip, myopic or equal.
        sampler: what chooses the queries; by default the method's own.
        control: corrupt the labels, to see whether the method needs them.
        seed: of everything that is drawn.
        out: folder of the run; by default runs/ENV/AGENT-SEED.
        resume: go on with the run in that folder, with its own configuration.
        wandb: log to Weights & Biases as well.
        video: write a video of the learned policy at the end.
        show_options: list the options for every number, and stop.
    """

    env: Annotated[str, tyro.conf.Positional]
    agent: Literal["sac", "pebble", "qpa"] = "qpa"
    preset: Preset = "cpu"
    teacher: str = "oracle"
    sampler: str | None = None
    control: Control = "none"
    seed: int = 0
    out: Path | None = None
    resume: bool = False
    wandb: bool = False
    video: bool = False
    show_options: bool = False

    @property
    def folder(self) -> Path:
        """Where the run goes."""
        control = "" if self.control == "none" else f"-{self.control}"
        return self.out or RUNS / self.env / f"{self.agent}{control}-{self.seed}"


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl train` with the words after it.

    Raises:
        ValueError: if the configuration cannot work.
    """
    options, rest = tyro.cli(
        TrainOptions, args=list(arguments), prog="pbrl train", return_unknown_args=True
    )
    config = configure(options, ["--help"] if options.show_options else rest)
    from pbrl.commands.report import report_run
    from pbrl.training.run import train

    result = train(config, options.folder, resume=options.resume, wandb=options.wandb)
    report_run(options.folder, result, video=options.video)


def configure(options: TrainOptions, rest: Sequence[str] = ()) -> TrainConfig:
    """Return the configuration that the options and the words after them ask for.

    Raises:
        ValueError: if a name is unknown or a number impossible.
    """
    if options.resume and (options.folder / "config.json").exists():
        stored = decode(TrainConfig, read_config(options.folder), "config.json")
        return _parse(stored, rest)
    config = make_config(
        options.env,
        options.agent,
        preset=options.preset,
        teacher=options.teacher,
        sampler=options.sampler,
        control=options.control,
        seed=options.seed,
    )
    return _parse(config, rest)


def _parse(config: TrainConfig, words: Sequence[str]) -> TrainConfig:
    return tyro.cli(
        tyro.conf.AvoidSubcommands[TrainConfig],
        default=config,
        args=list(words),
        prog=f"pbrl train {config.env}",
    )
