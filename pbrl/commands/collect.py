"""`pbrl collect`: make a dataset from policies."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from pbrl.offline.collect.sources import Source, mix, parse_source
from pbrl.training.collect_config import CollectConfig

Mixture = Literal["random", "medium", "medium-replay", "medium-expert", "expert"]
DEFAULT_EPISODES = 100
DATASET_NAME = re.compile(r"[-\w]+(/[-\w]+)*-v\d+")


@dataclass(frozen=True, kw_only=True)
class CollectOptions:
    """Collect episodes of policies into a Minari dataset.

    A policy is `random`, `scripted` (Meta-World's expert), the folder of a run, one of its
    checkpoints, a SAC file of stable-baselines3, or `replay=RUN` for the episodes in a run's
    replay buffer. Settings follow a colon: `scripted:noise=0.3,scale=0.5,random=0.1,share=2` or
    `runs/x:stochastic=true`. Several policies share the dataset.

    Attributes:
        env: environment id, such as metaworld/drawer-open-v3-cpl or gym/Hopper-v5.
        policies: who acts.
        mixture: one of D4RL's; its policies in the order medium, expert.
        episodes: how many to collect; 100 by default.
        steps: or how many steps at least.
        num_envs: episodes in progress at once.
        seed: of everything that is drawn.
        name: Minari's name of the dataset; by default made of environment and policies.
        root: folder of datasets; by default MINARI_DATASETS_PATH or Minari's own.
        resume: go on with a collection that was interrupted.
        max_episode_steps: steps until truncation, if not the environment's own.
        goal_visible: show Meta-World's goal.
        keep_states: store simulator states, to render clips from.
        warm_up: a policy that acts before the recording begins, for a random number of steps.
        warm_up_steps: the most steps it acts.
        random_return: return that counts as 0, if it is known.
        expert_return: return that counts as 100, if it is known.
        expert: policy whose return counts as 100, to measure it.
        reference_episodes: episodes to measure these two returns with.
    """

    env: Annotated[str, tyro.conf.Positional]
    policies: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    mixture: Mixture | None = None
    episodes: int | None = None
    steps: int | None = None
    num_envs: int = 8
    seed: int = 0
    name: str | None = None
    root: Path | None = None
    resume: bool = False
    max_episode_steps: int | None = None
    goal_visible: bool = False
    keep_states: bool = False
    warm_up: str | None = None
    warm_up_steps: int = 0
    random_return: float | None = None
    expert_return: float | None = None
    expert: str | None = None
    reference_episodes: int = 0


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl collect` with the words after it.

    Raises:
        ValueError: if the configuration cannot work.
    """
    options = tyro.cli(
        CollectOptions,
        args=list(arguments),
        prog="pbrl collect",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    config = configure(options)
    name = options.name or default_name(config)
    if not DATASET_NAME.fullmatch(name):
        raise ValueError(f"name must look like hopper/medium-v0, got {name!r}")
    from pbrl.training.collect import collect

    folder = collect(config, options.root or datasets_root(), name, resume=options.resume)
    console = Console()
    console.print(f"dataset {name}: {folder}", markup=False, soft_wrap=True)


def configure(options: CollectOptions) -> CollectConfig:
    """Return the configuration that the options ask for.

    Raises:
        ValueError: if a policy or a number is impossible.
    """
    sources = tuple(parse_source(text) for text in options.policies)
    if options.mixture is not None:
        sources = mix(options.mixture, sources)
    episodes = options.episodes
    if episodes is None and options.steps is None:
        episodes = DEFAULT_EPISODES
    return CollectConfig(
        env=options.env,
        sources=sources or (Source(policy="random"),),
        mixture=options.mixture,
        episodes=episodes,
        steps=options.steps,
        num_envs=options.num_envs,
        seed=options.seed,
        max_episode_steps=options.max_episode_steps,
        goal_visible=options.goal_visible,
        keep_states=options.keep_states,
        warm_up=parse_source(options.warm_up) if options.warm_up else None,
        warm_up_steps=options.warm_up_steps,
        random_return=options.random_return,
        expert_return=options.expert_return,
        expert=parse_source(options.expert) if options.expert else None,
        reference_episodes=options.reference_episodes,
    )


def default_name(config: CollectConfig) -> str:
    """Return a name made of the environment and of the mixture or the policies."""
    policies = config.mixture or "-".join(source.policy for source in config.sources)
    words = [
        re.sub(r"[^-\w]+", "-", part).strip("-") for part in (*config.env.split("/"), policies)
    ]
    return "/".join(words) + "-v0"


def datasets_root() -> Path:
    """Return the folder in which Minari looks for datasets."""
    chosen = os.environ.get("MINARI_DATASETS_PATH")
    return Path(chosen) if chosen else Path.home() / ".minari" / "datasets"
