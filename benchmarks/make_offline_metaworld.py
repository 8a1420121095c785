"""Make the Meta-World data of the suite offline-cpu: datasets in CPL's protocol, and their labels.

    python benchmarks/make_offline_metaworld.py            # three tasks, about ten minutes
    python benchmarks/make_offline_metaworld.py --tasks all

Behaviour: Meta-World's scripted expert, slowed down, with Gaussian action noise of 0.3, as four
demonstrators who each take the object to be somewhat beside its place, always the same distance: a
quarter of the episodes each, and about half of all episodes succeed. So the mean action is wrong in
a way that imitating all alike keeps, and that preferring the better ones corrects. (CPL samples a
half-trained SAC.)

Labels: CPL's regret rule on segments of 64 steps, with values fitted to the scripted expert, who
takes over from a demonstrator at a random step. (CPL has the critics of a solved SAC.)
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from pbrl.offline.collect.minari_writer import METADATA_KEY
from pbrl.offline.collect.sources import Source
from pbrl.offline.labels import load_preferences
from pbrl.offline.load import load_dataset
from pbrl.offline.values import ValueConfig
from pbrl.pairs import ScoredSegments
from pbrl.training.collect import WORK_SUFFIX, collect
from pbrl.training.collect_config import CollectConfig
from pbrl.training.files import read_json
from pbrl.training.label_simulation import SimulationConfig, simulate_labels
from pbrl.training.tables import markdown

DEMONSTRATORS = {
    "drawer-open": (0.5, (0.02, 0.04, 0.06, 0.08)),
    "plate-slide": (0.3, (0.02, 0.04, 0.06, 0.07)),
    "sweep-into": (0.4, (0.0, 0.03, 0.05, 0.06)),
    "door-open": (0.6, (0.03, 0.05, 0.065, 0.07)),
    "button-press": (0.3, (0.04, 0.045, 0.05, 0.06)),
    "bin-picking": (0.7, (0.0, 0.01, 0.02, 0.03)),
}
"""CPL's six tasks: fraction of the expert's speed, and metres beside the object; found by playing
16 episodes with each of a few values."""
DEFAULT_TASKS = ("drawer-open", "door-open", "sweep-into")
NOISE = 0.3
FOLDER = "metaworld-cpl"
LABELS = Path("labels") / "regret-64.npz"
NUM_COMPARED = 100_000
VALUE = ValueConfig()


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much to make; the defaults suit a laptop. CPL: 2,500 episodes.

    Attributes:
        episodes: of behaviour, 250 steps each.
        expert_episodes: of the expert that values are fitted to, 150 to 400 steps each.
        segments: scored segments of 64 steps.
        reference_episodes: of a random policy and of the expert, for normalised scores.
    """

    episodes: int = 400
    expert_episodes: int = 250
    segments: int = 2_500
    reference_episodes: int = 20


def behaviour(task: str) -> tuple[Source, ...]:
    """Return the demonstrators of a task, from the nearest to the farthest off."""
    speed, offsets = DEMONSTRATORS[task]
    return tuple(
        Source(policy="scripted", scale=speed, offset=offset, noise=NOISE) for offset in offsets
    )


def make(task: str, root: Path, sizes: Sizes, seed: int = 0) -> dict[str, Any]:
    """Make what is missing of a task's data and return the figures of its table row."""
    env = f"metaworld/{task}-v3-cpl"
    data = _collect(
        CollectConfig(
            env=env,
            sources=behaviour(task),
            episodes=sizes.episodes,
            seed=seed,
            reference_episodes=sizes.reference_episodes,
        ),
        root,
        f"{FOLDER}/{task}-v0",
    )
    expert = _collect(
        CollectConfig(
            env=env,
            sources=(Source(policy="scripted"),),
            episodes=sizes.expert_episodes,
            seed=seed + 1,
            max_episode_steps=400,
            warm_up=behaviour(task)[1],
            warm_up_steps=250,
        ),
        root,
        f"{FOLDER}/{task}-expert-v0",
    )
    config = SimulationConfig(
        segments=sizes.segments, value_data=str(expert), value=VALUE, seed=seed
    )
    if not (data / LABELS).exists():
        simulate_labels(str(data), config, data / LABELS)
    return describe(task, data)


def _collect(config: CollectConfig, root: Path, name: str) -> Path:
    """Collect a dataset unless it is there; go on where an earlier call was interrupted."""
    if (root / name).exists():
        return root / name
    is_begun = (root / f"{name}{WORK_SUFFIX}").exists()
    return collect(config, root, name, resume=is_begun)


def describe(task: str, data: Path) -> dict[str, Any]:
    """Return what the behaviour came to and what the labels agree with."""
    ours = read_json(data / "data" / "metadata.json")[METADATA_KEY]
    record = read_json((data / LABELS).with_suffix(".json"))
    dataset = load_dataset(str(data))
    scored = load_preferences(data / LABELS, dataset)
    assert isinstance(scored, ScoredSegments)
    return {
        "task": task,
        "episodes": sum(source["episodes"] for source in ours["sources"]),
        "success": float(
            np.average(
                [source["success_rate"] for source in ours["sources"]],
                weights=[source["episodes"] for source in ours["sources"]],
            )
        ),
        "by demonstrator": " / ".join(
            f"{source['success_rate']:.2f}" for source in ours["sources"]
        ),
        "value explains": record["value"]["explained_variance"],
        "as return": record["agreement_with_return"],
        "as success": agreement_with_success(scored, data / "data" / "main_data.hdf5"),
    }


def agreement_with_success(scored: ScoredSegments, path: Path) -> float:
    """Return how often a segment with a success scores above one without.

    Args:
        scored: the segments.
        path: file of the dataset, in which the infos hold `success`.
    """
    segments = scored.segments
    with h5py.File(path) as file:
        successes = [
            bool(file[f"episode_{episode}/infos/success"][start + 1 : start + length + 1].any())
            for episode, start, length in zip(
                segments.episode.tolist(),
                segments.start.tolist(),
                segments.length.tolist(),
                strict=True,
            )
        ]
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randint(len(scored), (NUM_COMPARED, 2), generator=generator)
    gap = torch.tensor(successes).float()[pairs].diff(dim=1)[:, 0]
    score_gap = scored.scores[pairs].diff(dim=1)[:, 0]
    return float((gap.sign() == score_gap.sign())[gap != 0].float().mean())


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a markdown table of the datasets."""
    header = [
        "task", "episodes", "success", "success by demonstrator", "value explains",
        "regret orders pairs as return", "as success",
    ]  # fmt: skip
    cells = [
        [row["task"], f"{row['episodes']}", f"{row['success']:.2f}", row["by demonstrator"]]
        + [f"{row[name]:.1%}" for name in ("value explains", "as return", "as success")]
        for row in rows
    ]
    return markdown(header, cells)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the data and print their table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", nargs="+", default=DEFAULT_TASKS, help="names, or all")
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder of datasets")
    for name, default in vars(Sizes()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    tasks = tuple(DEMONSTRATORS) if options.tasks == ["all"] else options.tasks
    if unknown := sorted(set(tasks) - set(DEMONSTRATORS)):
        parser.error(f"unknown tasks {unknown}; there are {', '.join(DEMONSTRATORS)}")
    sizes = Sizes(**{name: getattr(options, name) for name in vars(Sizes())})
    rows = []
    for task in tasks:
        rows.append(make(task, options.root, sizes, options.seed))
        print(f"{task}: {options.root / FOLDER / f'{task}-v0'}")
    print(table(rows))


if __name__ == "__main__":
    main()
