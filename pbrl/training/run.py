"""A run: the loop with evaluations, logs, checkpoints and a result."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from pbrl.agents.sac import SAC
from pbrl.queries.teachers import Teacher
from pbrl.randomness import Generators, derived_seed
from pbrl.training.build import (
    EVALUATION_ENV,
    RANDOM_POLICY,
    build_agent,
    build_loop,
    make_env,
)
from pbrl.training.checkpoint import (
    has_checkpoint,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from pbrl.training.config import TrainConfig
from pbrl.training.decode import decode
from pbrl.training.evaluation import Evaluation, Policy, evaluate, random_policy
from pbrl.training.files import plain
from pbrl.training.machine import commit, machine, versions
from pbrl.training.metrics import MetricsLog
from pbrl.training.online import PURPOSES, OnlineLoop
from pbrl.training.progress import Progress
from pbrl.training.result import Point, Result, final_score
from pbrl.training.run_folder import CHECKPOINTS, RunFolder, is_run, read_config


class Interrupted(KeyboardInterrupt):
    """The run was stopped from outside; its checkpoint is written."""


def train(
    config: TrainConfig,
    folder: Path,
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
        teacher: answers instead of the configured simulated teacher.
        wandb: log to Weights & Biases, true or the name of a project.

    Raises:
        Interrupted: after Ctrl-C or a termination signal; `resume` goes on from there.
        ValueError: if the configuration, the teacher or the folder does not fit.
        OSError: if the folder cannot be written.
    """
    with RunFolder(folder, config, resume=resume) as run_folder:
        run = _Run(config, run_folder, teacher=teacher)
        with (
            MetricsLog(
                folder,
                resume_step=run.loop.step if resume else None,
                wandb=wandb,
                config=plain(config),
            ) as log,
            _progress(config, run.loop.step) as progress,
            _interruptible() as is_interrupted,
        ):
            return run.go(log, progress, is_interrupted)


class _Run:
    """The state of a run around the loop: curve, clocks and how often it was resumed."""

    def __init__(
        self,
        config: TrainConfig,
        folder: RunFolder,
        *,
        teacher: Teacher | None,
    ) -> None:
        self.config = config
        self.folder = folder
        self.curve: list[Point] = []
        self.score_name = "return"
        self.random_score: float | None = None
        self.seconds = 0.0
        self.resumes = 0
        self.saved_step = -1
        state: dict[str, Any] | None = None
        if has_checkpoint(folder.checkpoints):
            state, _ = load_checkpoint(folder.checkpoints, self._fingerprint())
            self.resumes = int(state["resumes"]) + 1
        self.loop: OnlineLoop = build_loop(config, teacher=teacher, resumes=self.resumes)
        self.evaluation_env = make_env(config, num_envs=config.eval_episodes, key=(EVALUATION_ENV,))
        if state is not None:
            self._restore(state)

    def _fingerprint(self) -> dict[str, Any]:
        return {"config": plain(self.config)}

    def go(self, log: MetricsLog, progress: Progress, is_interrupted: Callable[[], bool]) -> Result:
        """Run to the end."""
        started = time.perf_counter() - self.seconds
        if self.random_score is None:
            evaluation = self._evaluate_random()
            self.score_name, self.random_score = evaluation.score_name, evaluation.score
        while self.loop.step < self.config.steps:
            before, sessions = self.loop.step, self.loop.num_sessions
            try:
                self.loop.advance()
            except Exception:
                self._checkpoint(started)
                raise
            self._report(before, log, progress)
            held_session = self.loop.num_sessions > sessions
            if held_session or self._passed(before, self.config.checkpoint_every):
                self._checkpoint(started)
            if is_interrupted():
                self._checkpoint(started)
                raise Interrupted(
                    f"stopped at step {self.loop.step:,}; the checkpoint is written, "
                    "go on with --resume"
                )
        if self.saved_step != self.loop.step:
            self._checkpoint(started)
        return self._finish()

    def _passed(self, before: int, every: int) -> bool:
        return before // every != self.loop.step // every

    def _report(self, before: int, log: MetricsLog, progress: Progress) -> None:
        loop = self.loop
        values: dict[str, float] = {}
        if self._passed(before, self.config.log_every) or loop.step >= self.config.steps:
            values = loop.metrics()
        if self._passed(before, self.config.eval_every) or loop.step >= self.config.steps:
            values |= self._evaluation_metrics(self._evaluate_agent())
        if values:
            log.write(loop.step, values)
        progress.update(
            loop.step,
            labels=loop.source.num_asked,
            reward_accuracy=loop.session_metrics.get("reward/accuracy"),
            score=self.curve[-1][1] if self.curve else None,
        )

    def _evaluation_metrics(self, evaluation: Evaluation) -> dict[str, float]:
        self.curve.append((self.loop.step, evaluation.score, self.loop.source.num_asked))
        metrics = {"eval/return": float(evaluation.returns.mean())}
        if evaluation.successes is not None:
            metrics["eval/success"] = evaluation.score
        return metrics

    def _evaluate(self, act: Policy) -> Evaluation:
        # The same seed every time: evaluations differ by the policy alone, also after a resume.
        return evaluate(
            act,
            self.evaluation_env,
            num_episodes=self.config.eval_episodes,
            seed=derived_seed(self.config.seed, EVALUATION_ENV),
        )

    def _evaluate_agent(self) -> Evaluation:
        return self._evaluate(lambda seen: self.loop.agent.act(seen, deterministic=True))

    def _evaluate_random(self) -> Evaluation:
        generator = torch.Generator(self.config.device)
        generator.manual_seed(derived_seed(self.config.seed, RANDOM_POLICY))
        return self._evaluate(random_policy(self.loop.agent.action_dim, generator))

    def _checkpoint(self, started: float) -> None:
        self.seconds = time.perf_counter() - started
        self.saved_step = self.loop.step
        save_checkpoint(
            self.folder.checkpoints,
            {
                "loop": self.loop.state_dict(),
                "curve": self.curve,
                "score_name": self.score_name,
                "random_score": self.random_score,
                "seconds": self.seconds,
                "resumes": self.resumes,
            },
            step=self.loop.step,
            fingerprint=self._fingerprint(),
        )

    def _restore(self, state: dict[str, Any]) -> None:
        self.loop.load_state_dict(state["loop"])
        self.curve = [(step, score, labels) for step, score, labels in state["curve"]]
        self.score_name = state["score_name"]
        self.random_score = state["random_score"]
        self.seconds = state["seconds"]
        self.saved_step = self.loop.step

    def _finish(self) -> Result:
        loop, config = self.loop, self.config
        self.curve.sort()
        result = Result(
            suite=config.suite,
            agent=config.agent,
            env=config.env,
            seed=config.seed,
            control=config.preferences.control if config.preferences else "none",
            steps=loop.step,
            labels_asked=loop.source.num_asked,
            labels_given=loop.source.num_labelled,
            score_name=self.score_name,
            score=final_score(self.curve, config.score_evaluations),
            score_evaluations=min(config.score_evaluations, len(self.curve)),
            curve=tuple(self.curve),
            random_score=self.random_score,
            wall_seconds=self.seconds,
            updates_per_second=loop.num_updates / self.seconds,
            versions=versions(),
            machine=machine(),
            commit=commit(),
            config=plain(config),
            environment=plain(getattr(loop.collector.env, "record", {})),
        )
        result.save(self.folder.result)
        return result


def load_policy(folder: Path) -> tuple[Policy, TrainConfig]:
    """Return the deterministic policy of the newest checkpoint of a run, and its configuration.

    Raises:
        FileNotFoundError: if the folder holds no run or no checkpoint.
    """
    agent, config = load_agent(folder)
    return lambda observations: agent.act(observations, deterministic=True), config


def load_agent(path: Path) -> tuple[SAC, TrainConfig]:
    """Return the agent of a run as it was saved, and the run's configuration.

    Args:
        path: folder of the run, whose newest checkpoint counts, or one of its checkpoints.

    Raises:
        FileNotFoundError: if the folder holds no run or no checkpoint.
    """
    is_checkpoint = not is_run(path) and is_run(path.parent.parent)
    folder = path.parent.parent if is_checkpoint else path
    config = decode(TrainConfig, read_config(folder), "config.json")
    state, _ = read_checkpoint(path) if is_checkpoint else load_checkpoint(path / CHECKPOINTS, None)
    env = make_env(config, num_envs=1, key=(EVALUATION_ENV,))
    agent = build_agent(config, env, Generators(config.seed, PURPOSES, config.device))
    env.close()
    agent.load_state_dict(state["loop"]["agent"])
    return agent, config


def _progress(config: TrainConfig, step: int) -> Progress:
    budget = config.preferences.schedule.budget if config.preferences else 0
    return Progress(
        config.steps,
        label_budget=budget,
        title=f"{config.agent} on {config.env}, seed {config.seed}",
        start_step=step,
        score_name="success" if config.env.startswith("metaworld/") else "return",
    )


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and termination into a question that the loop asks between two steps."""
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        if asked and number == signal.SIGINT:  # a second Ctrl-C does not wait
            raise KeyboardInterrupt
        asked.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread hears signals
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
