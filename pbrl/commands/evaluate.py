"""`pbrl evaluate`: roll out the policy of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from gymnasium.vector import VectorEnv
from rich.console import Console

from pbrl.checks import check_seed
from pbrl.envs import RenderingUnavailable
from pbrl.randomness import derived_seed
from pbrl.training.build import EVALUATION_ENV, EnvironmentRun, make_env
from pbrl.training.evaluation import Evaluation, Policy, evaluate
from pbrl.training.saved import load_policy
from pbrl.training.tables import markdown
from pbrl.training.video import check_can_be_filmed, check_name, check_writable, record_video

AUTO = Path("auto")
MAX_ENVS = 10


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Roll out the policy of a run and print what its episodes came to.

    Attributes:
        run: folder of the run; the newest checkpoint counts.
        episodes: complete episodes to play, with deterministic actions.
        seed: of the environment; by default one that neither training nor its evaluations used.
        video: write a video as well, to this file (.mp4 or .gif) or, with `auto`, into the run.
        video_episodes: episodes in the video.
    """

    run: Annotated[Path, tyro.conf.Positional]
    episodes: int = 10
    seed: int | None = None
    video: Path | None = None
    video_episodes: int = 1

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.episodes < 1 or self.video_episodes < 1:
            raise ValueError(
                "episodes and video_episodes must be at least 1, "
                f"got {self.episodes} and {self.video_episodes}"
            )
        if self.video is not None and self.video != AUTO:
            check_name(self.video)


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl evaluate` with the words after it."""
    options = tyro.cli(
        EvaluateOptions,
        args=list(arguments),
        prog="pbrl evaluate",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    path = options.run / "policy.mp4" if options.video == AUTO else options.video
    act, config = load_policy(options.run)
    if path is not None:
        check_writable(path)
        check_video(config)
    seed = derived_seed(config.seed, EVALUATION_ENV, 1) if options.seed is None else options.seed
    env = make_env(config, num_envs=min(options.episodes, MAX_ENVS), key=(EVALUATION_ENV,))
    outcome = evaluate(act, env, options.episodes, seed=seed)
    env.close()
    console = Console()
    console.print(f"{config.agent} on {config.env}, {options.episodes} episodes, seed {seed}")
    console.print(evaluation_table(outcome), markup=False)
    if path is not None:
        written = write_policy_video(act, config, path, options.video_episodes, seed)
        if written is not None:
            console.print(f"video: {written}", markup=False)


def check_video(config: EnvironmentRun) -> None:
    """Refuse a video of an environment that cannot be drawn here, before anything takes long.

    Raises:
        ValueError: saying why, and what to do.
    """
    env = _filmed_env(config)
    try:
        check_can_be_filmed(env)
    except RenderingUnavailable as error:
        raise ValueError(f"no video can be made: {error} Leave --video out.") from error
    finally:
        env.close()


def _filmed_env(config: EnvironmentRun) -> VectorEnv[Any, Any, Any]:
    # The official packages render; envpool's environments do not.
    return make_env(config, num_envs=1, key=(EVALUATION_ENV,), backend="official")


def write_policy_video(
    act: Policy, config: EnvironmentRun, path: Path, num_episodes: int, seed: int
) -> Path | None:
    """Write a video of a run's policy; None, with a warning, where nothing can be rendered."""
    env = _filmed_env(config)
    try:
        return record_video(act, env, path, num_episodes=num_episodes, seed=seed)
    finally:
        env.close()


def evaluation_table(outcome: Evaluation) -> str:
    """Return a markdown table of what episodes came to, over all of them."""
    rows = [_row("true return", outcome.returns), _row("length", outcome.lengths)]
    if outcome.successes is not None:
        rows.append(["success", f"{outcome.successes.mean():.2f}", "", "", ""])
    return markdown(["", "mean", "standard deviation", "least", "most"], rows)


def _row(name: str, values: np.ndarray) -> list[str]:
    numbers = (values.mean(), values.std(), values.min(), values.max())
    return [name, *(f"{number:,.1f}" for number in numbers)]
