"""An offline run: from a dataset and labels to a policy and a result."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pbrl.agents import agent_class
from pbrl.offline.dataset import DatasetInfo
from pbrl.seeds import check_takes_seeds
from pbrl.training.device_memory import OFFLINE, naming_what_to_lower
from pbrl.training.files import plain
from pbrl.training.fit_build import build_offline_loop, build_scorer, evaluation_env
from pbrl.training.fit_config import FitConfig
from pbrl.training.fit_data import Data, check_there, fingerprint, load_data
from pbrl.training.interruption import interruptible
from pbrl.training.metrics import MetricsLog
from pbrl.training.progress import Progress
from pbrl.training.result import (
    LABEL_ACCURACY,
    LOG_LIKELIHOOD,
    NORMALIZED_RETURN,
    SUCCESS,
    Result,
)
from pbrl.training.run_folder import RunFolder, check_free
from pbrl.training.run_parts import About, Parts
from pbrl.training.runner import Run
from pbrl.training.seed_runs import go_together


def fit(
    config: FitConfig[Any],
    folder: Path | str,
    *,
    data: Data | None = None,
    resume: bool = False,
    wandb: bool | str = False,
) -> Result:
    """Learn offline and return the result, which also lies in the folder.

    Args:
        config: the run.
        folder: the run's folder, see `RunFolder`.
        data: to learn from, already read; the rewards to learn from are written into it. By default
            what the configuration names.
        resume: go on from the last checkpoint in the folder, or from the start if there is none.
        wandb: log to Weights & Biases, true or the name of a project.

    Raises:
        Interrupted: after Ctrl-C or a termination signal; `resume` goes on from there.
        ValueError: if data, configuration and folder do not fit, before any learning.
        OutOfDeviceMemory: if the device is full, naming what to lower.
        OSError: if the folder cannot be written.
    """
    folder = Path(folder)
    if data is None:
        check_there(config.dataset, config.labels)
    if not resume:
        check_free(folder)
    data = data or load_data(config.dataset, config.labels, config.data, config.device)
    with naming_what_to_lower(config.device, OFFLINE), ExitStack() as held:
        run, log = _open_run(config, folder, Given(data, resume, wandb), held)
        run.folder.begin()
        progress = _progress(config, data, run.loop.step, f"seed {config.seed}")
        with progress, interruptible() as is_interrupted:
            return run.go(log, progress, is_interrupted)


def fit_seeds(
    config: FitConfig[Any],
    folders: Mapping[int, Path],
    *,
    data: Data | None = None,
    resume: bool = False,
    wandb: bool | str = False,
) -> list[Result]:
    """Learn offline with several seeds as one computation; see `fit` and `pbrl.seeds`.

    Args:
        config: of every run but for its seed.
        folders: of each run, by its seed.
        data: to learn from; each seed keeps the rewards that it learns to itself.
        resume: go on from the last checkpoints.
        wandb: log to Weights & Biases, each seed as a run of its own.

    Returns:
        The results in the order of the seeds.

    Raises:
        Interrupted: after Ctrl-C or a termination signal; `resume` goes on from there.
        ValueError: see `fit`, and if the method takes no axis of seeds.
        OutOfDeviceMemory: if the device is full, naming what to lower.
        OSError: if a folder cannot be written.
    """
    check_takes_seeds(agent_class(config.agent))
    if data is None:
        check_there(config.dataset, config.labels)
    if not resume:
        for folder in folders.values():
            check_free(folder)
    data = data or load_data(config.dataset, config.labels, config.data, config.device)
    with naming_what_to_lower(config.device, OFFLINE), ExitStack() as held:
        opened = []
        for seed, folder in folders.items():
            own = Given(data.with_own_rewards(), resume, wandb)
            opened.append(_open_run(replace(config, seed=seed), folder, own, held))
        for run, _ in opened:
            run.folder.begin()
        return go_together(opened, partial(_progress, config, data))


class Given(NamedTuple):
    """What a run is started with beside its configuration, see `fit`."""

    data: Data
    resume: bool
    wandb: bool | str


def _open_run(
    config: FitConfig[Any], folder: Path, given: Given, held: ExitStack
) -> tuple[Run, MetricsLog]:
    """Return a run at its start, or where it was left, and its log; `held` closes them."""
    data = given.data
    info = data.dataset.info
    config = with_environment(config, info)
    env = None if config.env is None else evaluation_env(config, data.dataset)
    loop, held_out = build_offline_loop(config, data)
    parts = Parts(loop, build_scorer(config, data, loop, held_out, env))
    about = About(
        env=config.env,
        dataset=info.name,
        control=config.control,
        environment=plain(getattr(env, "record", {})),
    )
    run = Run(
        config,
        held.enter_context(RunFolder(folder, config, resume=given.resume)),
        build=lambda _: parts,
        about=lambda _: about,
        belongs_to=fingerprint(data),
    )
    log = MetricsLog(
        folder,
        resume_step=run.logged_step if given.resume else None,
        wandb=given.wandb,
        config=plain(config),
    )
    return run, held.enter_context(log)


def with_environment(config: FitConfig[Any], info: DatasetInfo) -> FitConfig[Any]:
    """Return the configuration with the environment that the dataset turned out to be of."""
    return replace(
        config,
        data=replace(config.data, env=info.env, goal_visible=info.goal_visible),
        environment=replace(config.environment, goal_visible=info.goal_visible),
    )


def _progress(config: FitConfig[Any], data: Data, step: int, seeds: str) -> Progress:
    return Progress(
        config.steps,
        title=f"{config.agent} on {data.dataset.info.name}, {seeds}",
        start_step=step,
        score_name=_expected_score(config, data),
        unit="updates",
    )


def _expected_score(config: FitConfig[Any], data: Data) -> str:
    """Return what the score will be called, for the progress view before the first one."""
    env = config.env or data.dataset.info.env
    if env is None:
        return LABEL_ACCURACY if config.held_out_share > 0 else LOG_LIKELIHOOD
    if env.startswith("metaworld/"):
        return SUCCESS
    return "return" if data.dataset.info.reference is None else NORMALIZED_RETURN
