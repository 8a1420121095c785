"""An online run: the loop with evaluations, logs, checkpoints and a result."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from pbrl.agents.protocol import OnlineAgent
from pbrl.queries.follower import Follower
from pbrl.queries.teachers import Teacher
from pbrl.randomness import Generators, derived_seed
from pbrl.seeds import check_takes_seeds
from pbrl.training.build import (
    EVALUATION_ENV,
    RANDOM_POLICY,
    build_agent,
    build_loop,
    chosen_agent,
    make_env,
)
from pbrl.training.checkpoint import load_checkpoint, read_checkpoint
from pbrl.training.config import TrainConfig
from pbrl.training.decode import decode
from pbrl.training.device_memory import ONLINE, naming_what_to_lower
from pbrl.training.evaluation import Policy
from pbrl.training.files import plain
from pbrl.training.interruption import Interrupted, interruptible
from pbrl.training.metrics import MetricsLog
from pbrl.training.online import PURPOSES, OnlineLoop
from pbrl.training.preferences import PreferenceReward
from pbrl.training.progress import Progress
from pbrl.training.result import Result
from pbrl.training.reward_recovery import RewardRecovery
from pbrl.training.run_folder import CHECKPOINTS, RunFolder, check_free, is_run, read_config
from pbrl.training.run_parts import About, Parts
from pbrl.training.runner import Run
from pbrl.training.scoring import EnvironmentScorer, Scorer, ScorerWithMore
from pbrl.training.seed_runs import go_together

RECOVERY = 3  # key of a seed, after that of the evaluation

__all__ = ["Interrupted", "load_agent", "load_policy", "train", "train_seeds"]


def train(
    config: TrainConfig,
    folder: Path | str,
    *,
    resume: bool = False,
    teacher: Teacher | None = None,
    wandb: bool | str = False,
) -> Result:
    """Train online and return the result, which also lies in the folder.

    Args:
        config: the run.
        folder: the run's folder, see `RunFolder`.
        resume: go on from the last checkpoint in the folder, or from the start if there is none.
        teacher: answers instead of the configured simulated teacher, at once or later; who is a
            `Follower` as well is told how the run stands.
        wandb: log to Weights & Biases, true or the name of a project.

    Raises:
        Interrupted: after Ctrl-C or a termination signal; `resume` goes on from there.
        ValueError: if the configuration, the teacher or the folder does not fit.
        OutOfDeviceMemory: if the device is full, naming what to lower.
        OSError: if the folder cannot be written.
    """
    with naming_what_to_lower(config.device, ONLINE), ExitStack() as held:
        run, log = _open_run(config, Path(folder), Given(teacher, resume, wandb), held)
        run.folder.begin()
        progress = _progress(config, run.loop.step, f"seed {config.seed}")
        with progress, interruptible() as is_interrupted:
            return run.go(log, progress, is_interrupted)


def train_seeds(
    config: TrainConfig,
    folders: Mapping[int, Path],
    *,
    resume: bool = False,
    wandb: bool | str = False,
) -> list[Result]:
    """Train online with several seeds as one computation; see `train` and `pbrl.seeds`.

    Each seed has environments, a replay buffer and a simulated teacher of its own.

    Args:
        config: of every run but for its seed.
        folders: of each run, by its seed.
        resume: go on from the last checkpoints.
        wandb: log to Weights & Biases, each seed as a run of its own.

    Returns:
        The results in the order of the seeds.

    Raises:
        Interrupted: after Ctrl-C or a termination signal; `resume` goes on from there.
        ValueError: see `train`, and if the method takes no axis of seeds.
        OutOfDeviceMemory: if the device is full, naming what to lower.
        OSError: if a folder cannot be written.
    """
    check_takes_seeds(chosen_agent(config)[0])
    if not resume:
        for folder in folders.values():
            check_free(folder)
    given = Given(None, resume, wandb)
    with naming_what_to_lower(config.device, ONLINE), ExitStack() as held:
        opened = [
            _open_run(replace(config, seed=seed), folder, given, held)
            for seed, folder in folders.items()
        ]
        for run, _ in opened:
            run.folder.begin()
        return go_together(opened, partial(_progress, config))


class Given(NamedTuple):
    """What a run is started with beside its configuration, see `train`."""

    teacher: Teacher | None
    resume: bool
    wandb: bool | str


def _open_run(
    config: TrainConfig, folder: Path, given: Given, held: ExitStack
) -> tuple[Run, MetricsLog]:
    """Return a run at its start, or where it was left, and its log; `held` closes them."""
    teacher = given.teacher
    run = Run(
        config,
        held.enter_context(RunFolder(folder, config, resume=given.resume)),
        build=lambda resumes: build_parts(config, teacher=teacher, resumes=resumes),
        about=lambda parts: _about(config, parts),
        save_on_error=True,
        follower=teacher if isinstance(teacher, Follower) else None,
    )
    log = MetricsLog(
        folder,
        resume_step=run.logged_step if given.resume else None,
        wandb=given.wandb,
        config=plain(config),
    )
    return run, held.enter_context(log)


def build_parts(config: TrainConfig, *, teacher: Teacher | None, resumes: int) -> Parts:
    """Return the loop of an online run and what scores its policy.

    Args:
        config: the run.
        teacher: answers instead of the configured simulated teacher.
        resumes: how often the run was interrupted.
    """
    loop = build_loop(config, teacher=teacher, resumes=resumes)
    scorer: Scorer = EnvironmentScorer(
        lambda seen: loop.agent.act(seen, deterministic=True),
        make_env(config, num_envs=config.eval_episodes, key=(EVALUATION_ENV,)),
        config.eval_episodes,
        seed=derived_seed(config.seed, EVALUATION_ENV),
        noise=torch.Generator(config.device).manual_seed(derived_seed(config.seed, RANDOM_POLICY)),
    )
    preferences, source = config.preferences, loop.source
    if preferences is not None and isinstance(source, PreferenceReward):
        measure = RewardRecovery(
            source,
            loop.replay,
            preferences.sampler.segment_length,
            seed=derived_seed(config.seed, EVALUATION_ENV, RECOVERY),
        )
        scorer = ScorerWithMore(scorer, measure)
    return Parts(loop, scorer)


def _about(config: TrainConfig, parts: Parts) -> About:
    assert isinstance(parts.loop, OnlineLoop)  # `build_parts` made it
    return About(
        env=config.env,
        control=config.preferences.control if config.preferences else "none",
        environment=plain(getattr(parts.loop.collector.env, "record", {})),
    )


def load_policy(folder: Path | str) -> tuple[Policy, TrainConfig]:
    """Return the deterministic policy of the newest checkpoint of a run, and its configuration.

    Raises:
        FileNotFoundError: if the folder holds no run or no checkpoint.
    """
    agent, config = load_agent(folder)
    return lambda observations: agent.act(observations, deterministic=True), config


def load_agent(path: Path | str) -> tuple[OnlineAgent, TrainConfig]:
    """Return the agent of a run as it was saved, and the run's configuration.

    Args:
        path: folder of the run, whose newest checkpoint counts, or one of its checkpoints.

    Raises:
        FileNotFoundError: if the folder holds no run or no checkpoint.
    """
    path = Path(path)
    is_checkpoint = not is_run(path) and is_run(path.parent.parent)
    folder = path.parent.parent if is_checkpoint else path
    config = decode(TrainConfig, read_config(folder), "config.json")
    state, _ = read_checkpoint(path) if is_checkpoint else load_checkpoint(path / CHECKPOINTS, None)
    env = make_env(config, num_envs=1, key=(EVALUATION_ENV,))
    agent = build_agent(config, env, Generators(config.seed, PURPOSES, config.device))
    env.close()
    agent.load_state_dict(state["loop"]["agent"])
    return agent, config


def _progress(config: TrainConfig, step: int, seeds: str) -> Progress:
    budget = config.preferences.schedule.budget if config.preferences else 0
    return Progress(
        config.steps,
        label_budget=budget,
        title=f"{config.agent} on {config.env}, {seeds}",
        start_step=step,
        score_name="success" if config.env.startswith("metaworld/") else "return",
    )
