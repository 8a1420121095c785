"""Make the data of the suite sequence-cpu: datasets, and scripted labels for them.

    python benchmarks/make_sequence_data.py --tasks four-goals          # seconds
    python benchmarks/make_sequence_data.py                             # trains first: hours

Four goals: 200 episodes of a point mass, a quarter of which head for each goal, and 200 pairs of
windows of 15 steps labelled by what they earn.

Locomotion, of the kinds that D4RL calls medium-replay and medium-expert: SAC learns the task for a
while; the first half of what it saw is the replay, its policy at half-time is medium and its last
one stands for the expert, which it is not. Both datasets of a task get 2,000 labels of segments of
50 steps and one pair of reference returns, a random policy's and the last policy's, so that scores
compare within this family and with no other.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pbrl import envs
from pbrl.envs.four_goals import BEST_RETURN, ENV_ID, GOALS, START_STD, STILL_RETURN, moved, reward
from pbrl.envs.four_goals import STEPS as EPISODE_STEPS
from pbrl.envs.vector import SerialVectorEnv
from pbrl.offline.collect.episodes import Episode
from pbrl.offline.collect.minari_writer import METADATA_KEY, write_minari
from pbrl.offline.collect.sources import Source, mix
from pbrl.offline.simulate import ScoreConfig
from pbrl.training.collect import WORK_SUFFIX, collect
from pbrl.training.collect_config import CollectConfig
from pbrl.training.files import read_json
from pbrl.training.label_simulation import SimulationConfig, simulate_labels
from pbrl.training.presets import make_config
from pbrl.training.run import train
from pbrl.training.run_folder import is_run
from pbrl.training.tables import markdown

ROOT = Path("data")
FOLDER = "sequence"
LABELS = Path("labels") / "return.npz"
FOUR_GOALS = "four-goals"
GAIN, NOISE = 2.0, 0.3  # of those who head for a goal
LOCOMOTION = {"hopper": "Hopper-v5", "halfcheetah": "HalfCheetah-v5", "walker2d": "Walker2d-v5"}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much to make.

    Attributes:
        episodes: of the point mass, 50 steps each.
        goal_pairs: its labels, of windows of 15 steps.
        training_steps: of SAC.
        expert_steps: of each of the two policies in medium-expert.
        pairs: labels of a locomotion dataset.
        segment_steps: of what they compare.
        reference_episodes: of the policies whose returns count as 0 and 100.
    """

    episodes: int = 200
    goal_pairs: int = 200
    training_steps: int = 100_000
    expert_steps: int = 25_000
    pairs: int = 2_000
    segment_steps: int = 50
    reference_episodes: int = 20


def four_goals(root: Path, sizes: Sizes, seed: int) -> list[Path]:
    """Make what is missing of the point mass, and return its folder."""
    name = f"{FOLDER}/{FOUR_GOALS}-v0"
    folder = root / name
    if not folder.exists():
        env = envs.make(ENV_ID, 1, backend="official")
        assert isinstance(env, SerialVectorEnv)
        write_minari(
            folder,
            name,
            ((episode, {}) for episode in heading(sizes.episodes, np.random.default_rng(seed))),
            env,
            {
                "ref_min_score": STILL_RETURN,
                "ref_max_score": BEST_RETURN,
                "description": "A point mass that heads for four goals in turn, of which one pays.",
                METADATA_KEY: {"env": ENV_ID, "environment": env.record.as_dict(), "seed": seed},
            },
        )
        env.close()
    label(folder, sizes.goal_pairs, 15, seed)
    return [folder]


def heading(number: int, rng: np.random.Generator) -> list[Episode]:
    """Return episodes that head for the four goals in turn, with noise."""
    goals = GOALS[np.arange(number) % len(GOALS)]
    places = [rng.normal(0, START_STD, (number, 2)).astype(np.float32)]
    actions, rewards = [], []
    for _ in range(EPISODE_STEPS):
        noise = rng.normal(0, NOISE, (number, 2))
        chosen = np.clip(GAIN * (goals - places[-1]) + noise, -1, 1).astype(np.float32)
        actions.append(chosen)
        places.append(moved(places[-1], chosen))
        rewards.append(reward(places[-1]))
    parts = [np.stack(part, 1) for part in (places, actions, rewards)]
    return [
        Episode(observations=seen, actions=done, rewards=earned, terminated=False)
        for seen, done, earned in zip(*parts, strict=True)
    ]


def locomotion(task: str, root: Path, runs: Path, sizes: Sizes, seed: int) -> list[Path]:
    """Train what is missing of a task's policy, make its datasets, and return their folders."""
    env, run = f"gym/{LOCOMOTION[task]}", runs / f"sac-{LOCOMOTION[task]}"
    half = sizes.training_steps // 2
    if not (run / "result.json").exists():
        learn(env, run, sizes.training_steps, seed)
    medium = Source(policy=str(min((run / "checkpoint").glob("step-*"))))
    common: dict[str, Any] = {"env": env, "seed": seed}
    experts = CollectConfig(
        sources=mix("medium-expert", (medium, Source(policy=str(run)))),
        mixture="medium-expert",
        steps=2 * sizes.expert_steps,
        reference_episodes=sizes.reference_episodes,
        **common,
    )
    folders = [collected(experts, root, f"{FOLDER}/{task}-medium-expert-v0")]
    known = read_json(folders[0] / "data" / "metadata.json")
    replay = CollectConfig(
        sources=mix("medium-replay", (Source(policy=str(run)),)),
        mixture="medium-replay",
        steps=half,
        random_return=known["ref_min_score"],
        expert_return=known["ref_max_score"],
        **common,
    )
    folders.append(collected(replay, root, f"{FOLDER}/{task}-medium-replay-v0"))
    for folder in folders:
        label(folder, sizes.pairs, sizes.segment_steps, seed)
    return folders


def learn(env: str, run: Path, steps: int, seed: int) -> None:
    """Train SAC, with a checkpoint at half-time; go on where an earlier call was interrupted."""
    config = make_config(env, "sac", seed=seed)
    config = replace(
        config,
        steps=steps,
        checkpoint_every=steps // 2,
        updates_per_step=1.0,
        environment=replace(config.environment, backend="official"),
    )
    train(config, run, resume=is_run(run))


def collected(config: CollectConfig, root: Path, name: str) -> Path:
    """Collect a dataset unless it is there; go on where an earlier call was interrupted."""
    if (root / name).exists():
        return root / name
    is_begun = (root / f"{name}{WORK_SUFFIX}").exists()
    return collect(config, root, name, resume=is_begun)


def label(folder: Path, pairs: int, length: int, seed: int) -> None:
    """Label pairs of segments by their returns, unless that has been done."""
    if not (folder / LABELS).exists():
        config = SimulationConfig(
            score=ScoreConfig(score="return"), pairs=pairs, length=length, seed=seed
        )
        simulate_labels(str(folder), config, folder / LABELS)


def describe(folder: Path) -> list[str]:
    """Return the row of a dataset in the table."""
    known = read_json(folder / "data" / "metadata.json")
    counts = read_json((folder / LABELS).with_suffix(".json"))["counts"]
    sources = known[METADATA_KEY].get("sources", [])
    returns = " / ".join(f"{source['mean_return']:.0f}" for source in sources) or "-"
    references = f"{known['ref_min_score']:.1f} / {known['ref_max_score']:.1f}"
    return [
        folder.name,
        str(known["total_episodes"]),
        str(known["total_steps"]),
        returns,
        references,
        f"{counts['pairs']} ({counts['ties']})",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the data and print their table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    known = (FOUR_GOALS, *LOCOMOTION)
    parser.add_argument("--tasks", nargs="+", choices=known, default=known)
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of datasets")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of policies")
    for name, default in vars(Sizes()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    sizes = Sizes(**{name: getattr(options, name) for name in vars(Sizes())})
    folders: list[Path] = []
    for task in options.tasks:
        if task == FOUR_GOALS:
            folders += four_goals(options.root, sizes, options.seed)
        else:
            folders += locomotion(task, options.root, options.runs, sizes, options.seed)
    header = ["dataset", "episodes", "steps", "return by source", "0 and 100", "pairs (ties)"]
    print(markdown(header, [describe(folder) for folder in folders]))


if __name__ == "__main__":
    main()
