"""`pbrl credit`: draw which steps a learned reward pays."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from pbrl.checks import check_seed
from pbrl.randomness import derived_seed
from pbrl.training.build import EVALUATION_ENV, dimensions, make_env
from pbrl.training.credit import credit_figure, credit_of, load_learner, play
from pbrl.training.plots import save_figure
from pbrl.training.saved import load_policy


@dataclass(frozen=True, kw_only=True)
class CreditOptions:
    """Draw frames of a segment and, along time, what a run's reward makes of each step.

    The run's policy plays an episode. With Hindsight PRIOR the importance of each step is drawn as
    well. Where nothing can be rendered the frames are left out.

    Attributes:
        run: folder of a run, online or offline, that learned a reward from preferences.
        start: first step of the segment in the episode.
        length: steps of the segment; fewer, with a warning, where the episode ends.
        seed: of the episode; by default the run's own for evaluations.
        out: the figure, .png, .svg or .pdf; by default credit.png in the run.
    """

    run: Annotated[Path, tyro.conf.Positional]
    start: int = 0
    length: int = 50
    seed: int | None = None
    out: Path | None = None

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.start < 0 or self.length < 1:
            raise ValueError(
                f"start must not be negative and length at least 1, got {self.start} and "
                f"{self.length}"
            )


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl credit` with the words after it.

    Raises:
        ValueError: if the run learned no such reward, or the episode ends too early.
    """
    options = tyro.cli(
        CreditOptions,
        args=list(arguments),
        prog="pbrl credit",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    act, config = load_policy(options.run)
    seed = derived_seed(config.seed, EVALUATION_ENV, 1) if options.seed is None else options.seed
    env = make_env(config, num_envs=1, key=(EVALUATION_ENV,), backend="official")
    try:
        learner = load_learner(options.run, dimensions(env))
        episode = play(act, env, options.length, start=options.start, seed=seed)
    finally:
        env.close()
    played = episode.segment.mask.shape[1]
    if played < options.length:
        warnings.warn(
            f"the episode ends after step {options.start + played}: {played} of the "
            f"{options.length} steps of --length are drawn",
            RuntimeWarning,
            stacklevel=1,
        )
    credit = credit_of(learner, episode.segment)
    out = options.out or options.run / "credit.png"
    save_figure(credit_figure(credit, episode.frames, start=options.start), out)
    Console(soft_wrap=True).print(f"figure: {out}", markup=False)
