"""An offline run: from a dataset and labels to a policy and a result."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pbrl.training.files import plain
from pbrl.training.fit_build import build_offline_loop, build_scorer, evaluation_env
from pbrl.training.fit_config import FitConfig
from pbrl.training.fit_data import Data, fingerprint, load_data
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


def fit(
    config: FitConfig[Any],
    folder: Path,
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
        OSError: if the folder cannot be written.
    """
    if not resume:
        check_free(folder)
    data = data or load_data(config.dataset, config.labels, config.data, config.device)
    info = data.dataset.info
    config = replace(
        config,
        data=replace(config.data, env=info.env, goal_visible=info.goal_visible),
        environment=replace(config.environment, goal_visible=info.goal_visible),
    )
    env = None if config.env is None else evaluation_env(config, data.dataset)
    loop, held_out = build_offline_loop(config, data)
    parts = Parts(loop, build_scorer(config, data, loop, held_out, env))
    about = About(
        env=config.env,
        dataset=info.name,
        control=config.control,
        environment=plain(getattr(env, "record", {})),
    )
    with RunFolder(folder, config, resume=resume) as run_folder:
        run = Run(
            config,
            run_folder,
            build=lambda _: parts,
            about=lambda _: about,
            belongs_to=fingerprint(data),
        )
        log = MetricsLog(
            folder, resume_step=loop.step if resume else None, wandb=wandb, config=plain(config)
        )
        progress = Progress(
            config.steps,
            title=f"{config.agent} on {info.name}, seed {config.seed}",
            start_step=loop.step,
            score_name=_expected_score(config, data),
            unit="updates",
        )
        with log, progress, interruptible() as is_interrupted:
            return run.go(log, progress, is_interrupted)


def _expected_score(config: FitConfig[Any], data: Data) -> str:
    """Return what the score will be called, for the progress view before the first one."""
    if config.env is None:
        return LABEL_ACCURACY if config.held_out_share > 0 else LOG_LIKELIHOOD
    if config.env.startswith("metaworld/"):
        return SUCCESS
    return "return" if data.dataset.info.reference is None else NORMALIZED_RETURN
