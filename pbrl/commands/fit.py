"""`pbrl fit`: learn offline, from a dataset and labels."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from pbrl.commands.given import given_options
from pbrl.commands.seeds import check_seeds, run_folders
from pbrl.offline.dataset import DatasetInfo
from pbrl.training.config import Control
from pbrl.training.fit_config import DataConfig, FitConfig, decode_fit_config
from pbrl.training.fit_data import Data, check_there, load_data
from pbrl.training.offline_presets import Facts, OfflinePreset, make_fit_config
from pbrl.training.run_folder import check_free, check_same_config, is_run, read_config

RUNS = Path("runs")
_FILES = (".npz", ".hdf5", ".h5")


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Learn offline: from a dataset, from labelled pairs of its segments, or from both.

    Every number of the configuration has an option of its own as well: `--steps 5000`,
    `--method.expectile 0.8`, `--reward.learning.passes 20`. `--show-options` lists them.

    Attributes:
        dataset: a path (HDF5 of D4RL or Robomimic, NPZ, a Minari dataset, a run) or a name with its
            kind, such as minari:mujoco/hopper/expert-v0.
        labels: file or folder of labels; not needed where the dataset holds them, or by agents that
            do without. foresight:budget=2000 makes those of OPPO's paper from true rewards.
        agent: bc clones the dataset, %bc its best episodes, sft the preferred segments; iql learns
            from the true reward, p-iql from one learned from the labels before, p-iql-joint
            meanwhile; cpl, ipl and dppo learn without a reward. Sequence models: oppo acts by a
            code of behaviour; dt and qt are told returns of the true reward, pb-dt, pb-qt and dtr
            of a learned one; preference-transformer is p-iql on a reward that remembers,
            hindsight-prior on one with a prior over steps, pearl on one that knows its uncertainty.
            On images, from the true reward: td3-bc, and td3-bc-taco with TACO's codes.
        preset: sizes that two cores manage, or the numbers of a paper: cpl, ipl, pt, uni-rlhf,
            oppo, dtr, dppo, or that of the method itself.
        control: corrupt the labels, to see whether the method needs them.
        seed: of everything that is drawn.
        seeds: several at once, as one computation: 0:16 for 0 to 15, or 0,3,5. Each has a folder of
            its own, whose name ends in its seed.
        device: where networks and data live.
        data: how dataset and labels are read.
        out: folder of the run; by default runs/DATASET/AGENT-SEED, where DATASET is the path as
            it is given, of an absolute one the last two names.
        resume: go on with the run in that folder, with its own configuration; what is given
            otherwise is refused.
        wandb: log to Weights & Biases as well.
        video: write a video of the learned policy at the end; refused at the beginning where the
            environment cannot be drawn.
        show_options: list the options for every number, and stop.
    """

    dataset: Annotated[str, tyro.conf.Positional]
    # A single optional word would come back as "[]" beside options that tyro does not know.
    labels: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    agent: str = "cpl"
    preset: OfflinePreset = "cpu"
    control: Control = "none"
    seed: int = 0
    seeds: str | None = None
    device: str = "cpu"
    data: DataConfig = field(default_factory=DataConfig)
    out: Path | None = None
    resume: bool = False
    wandb: bool = False
    video: bool = False
    show_options: bool = False

    def __post_init__(self) -> None:
        if len(self.labels) > 1:
            raise ValueError(f"labels must be one file or folder, got {' '.join(self.labels)}")
        check_seeds(self.seeds, self.seed, video=self.video)

    @property
    def label_source(self) -> str | None:
        """Where the labels are, if they are given."""
        return self.labels[0] if self.labels else None

    @property
    def folder(self) -> Path:
        """Where the run goes."""
        control = "" if self.control == "none" else f"-{self.control}"
        run = f"{self.agent}{control}"
        run = run if self.seeds else f"{run}-{self.seed}"
        return self.out or RUNS / _place_of(self.dataset) / run

    @property
    def folders(self) -> dict[int, Path]:
        """Where the run of each seed goes."""
        return run_folders(self.folder, self.seed, self.seeds)


def _place_of(dataset: str) -> Path:
    """Return where runs on a dataset go: files of one name in two folders are two datasets."""
    path = Path(dataset.rpartition(":")[2])
    if path.suffix in _FILES:
        path = path.with_suffix("")
    names = [part for part in path.parts if part not in (path.anchor, "..")]
    return Path(*(names[-2:] if path.is_absolute() else names))


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl fit` with the words after it.

    Raises:
        ValueError: if data and configuration cannot work together.
    """
    options, rest = tyro.cli(
        FitOptions, args=list(arguments), prog="pbrl fit", return_unknown_args=True
    )
    if options.show_options:
        configure(options, Facts(info=DatasetInfo(name=options.dataset, family="")), ["--help"])
        return
    config, data = prepare(options, rest, arguments)
    from pbrl.commands.evaluate import check_video
    from pbrl.commands.report import report_run, report_seeds
    from pbrl.training.fit import fit, fit_seeds, with_environment

    if options.video:
        check_video(with_environment(config, data.dataset.info))
    if options.seeds:
        folders = options.folders
        results = fit_seeds(config, folders, data=data, resume=options.resume, wandb=options.wandb)
        report_seeds(folders, results)
        return
    result = fit(config, options.folder, data=data, resume=options.resume, wandb=options.wandb)
    report_run(options.folder, result, video=options.video)


def prepare(
    options: FitOptions, rest: Sequence[str] = (), words: Sequence[str] = ()
) -> tuple[FitConfig[Any], Data]:
    """Return the configuration that the words ask for, and the data.

    Args:
        options: what has a name of its own.
        rest: the words for numbers of the configuration.
        words: all words that the options were read from.

    Raises:
        ValueError: if a name is unknown, a number impossible, a file is not what it should be, or
            an option that was given says otherwise than the run to resume.
        FileExistsError: if the folder is taken.
    """
    folders = list(options.folders.values())
    if options.resume and is_run(folders[0]):
        stored = decode_fit_config(read_config(folders[0]))
        now = _renamed(stored, options, given_options(options, words))
        check_same_config(folders[0], stored, now)
        config = _parse(stored, rest)
        return config, load_data(config.dataset, config.labels, config.data, config.device)
    check_there(options.dataset, options.label_source)
    for folder in folders:
        check_free(folder)
    data = load_data(options.dataset, options.label_source, options.data, options.device)
    return configure(options, data.facts(), rest), data


def _renamed(stored: FitConfig[Any], options: FitOptions, given: frozenset[str]) -> FitConfig[Any]:
    """Return the stored configuration with what the options that were given say in its place."""
    names = given & {"dataset", "agent", "preset", "control", "seed", "device"}
    changes = {name: getattr(options, name) for name in names}
    if options.labels:
        changes["labels"] = options.label_source
    data = {
        name: getattr(options.data, name)
        for name in (field.name for field in fields(DataConfig))
        if f"data.{name}" in given
    }
    return replace(stored, **changes, data=replace(stored.data, **data))


def configure(options: FitOptions, facts: Facts, rest: Sequence[str] = ()) -> FitConfig[Any]:
    """Return the configuration that the options and the words after them ask for.

    Raises:
        ValueError: if a name is unknown or a number impossible.
    """
    config = make_fit_config(
        options.dataset,
        options.agent,
        facts,
        labels=options.label_source,
        preset=options.preset,
        control=options.control,
        seed=options.seed,
    )
    return _parse(replace(config, device=options.device, data=options.data), rest)


def _parse(config: FitConfig[Any], words: Sequence[str]) -> FitConfig[Any]:
    generic: Any = FitConfig
    parsed: FitConfig[Any] = tyro.cli(
        generic[type(config.method)],
        default=config,
        args=list(words),
        prog=f"pbrl fit {config.dataset}",
        config=(tyro.conf.AvoidSubcommands,),
    )
    return parsed
