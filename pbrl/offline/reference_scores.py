"""D4RL's datasets as data: reference scores, time limits, file names.

The numbers are those of D4RL's `infos.py` and of the registered environments (Fu et al. 2020). They
normalise returns of the original environments only: datasets of Minari that carry the same words
in their names were collected anew, in other environments, and bring numbers of their own.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pbrl.offline.dataset import ReferenceScores


@dataclass(frozen=True, kw_only=True)
class D4RLDataset:
    """What D4RL says about one of its datasets.

    Attributes:
        random: return that counts as 0.
        expert: return that counts as 100.
        max_episode_steps: time limit of its environment.
        file: stem of the file's name.
        env: the same task in Gymnasium, in the version with D4RL's models; None where there is
            none, or it observes something else.
    """

    random: float
    expert: float
    max_episode_steps: int
    file: str
    env: str | None = None


_MUJOCO = {
    "halfcheetah": (-280.178953, 12135.0, "gym/HalfCheetah-v4"),
    "hopper": (-20.272305, 3234.3, "gym/Hopper-v4"),
    "walker2d": (1.629008, 4592.3, "gym/Walker2d-v4"),
    "ant": (-325.6, 3879.7, None),  # observes 84 contact forces more than Gymnasium's
}
_MUJOCO_KINDS = ("random", "medium", "expert", "medium-replay", "full-replay", "medium-expert")
_MUJOCO_STEPS = 1000
_ADROIT = {
    "pen": (96.262799, 3076.8331017826877, 100),
    "hammer": (-274.856578, 12794.134825156867, 200),
    "relocate": (-6.425911, 4233.877797728884, 200),
    "door": (-56.512833, 2880.5693087298737, 200),
}
_ADROIT_KINDS = ("human", "cloned", "expert")
_ADROIT_V0 = {
    "human": "{}-v0_demos_clipped",
    "cloned": "{}-demos-v0-bc-combined",
    "expert": "{}-v0_expert_clipped",
}
_KITCHEN = {
    "complete": "mini_kitchen_microwave_kettle_light_slider-v0",
    "partial": "kitchen_microwave_kettle_light_slider-v0",
    "mixed": "kitchen_microwave_kettle_bottomburner_light-v0",
}
_KITCHEN_STEPS = 280
_ANTMAZE = {
    "umaze": ("u-maze_noisy_multistart_False_multigoal_False", 700),
    "umaze-diverse": ("u-maze_noisy_multistart_True_multigoal_True", 700),
    "medium-play": ("big-maze_noisy_multistart_True_multigoal_False", 1000),
    "medium-diverse": ("big-maze_noisy_multistart_True_multigoal_True", 1000),
    "large-play": ("hardest-maze_noisy_multistart_True_multigoal_False", 1000),
    "large-diverse": ("hardest-maze_noisy_multistart_True_multigoal_True", 1000),
}
_ANTMAZE_VERSIONS = {"v0": "sparse", "v2": "sparse_fixed"}
_MAZE2D = {
    "maze2d-open-v0": (0.01, 20.66, 150, "maze2d-open-sparse"),
    "maze2d-umaze-v1": (23.85, 161.86, 300, "maze2d-umaze-sparse-v1"),
    "maze2d-medium-v1": (13.13, 277.39, 600, "maze2d-medium-sparse-v1"),
    "maze2d-large-v1": (6.7, 273.99, 800, "maze2d-large-sparse-v1"),
    "maze2d-open-dense-v0": (11.17817, 27.166538620695782, 150, "maze2d-open-dense"),
    "maze2d-umaze-dense-v1": (68.537689, 193.66285642381482, 300, "maze2d-umaze-dense-v1"),
    "maze2d-medium-dense-v1": (44.264742, 297.4552547777125, 600, "maze2d-medium-dense-v1"),
    "maze2d-large-dense-v1": (30.569041, 303.4857382709002, 800, "maze2d-large-dense-v1"),
}


def _mujoco() -> Iterator[tuple[str, D4RLDataset]]:
    for task, (random, expert, env) in _MUJOCO.items():
        for kind in _MUJOCO_KINDS:
            # Version 0 is another matter: wrong and doubled content, D4RL's issues 19, 76 and 86.
            for version in ("v1", "v2"):
                file = f"{task}_{kind.replace('-', '_')}-{version}"
                yield (
                    f"{task}-{kind}-{version}",
                    D4RLDataset(
                        random=random,
                        expert=expert,
                        max_episode_steps=_MUJOCO_STEPS,
                        file=file,
                        env=env,
                    ),
                )


def _manipulation() -> Iterator[tuple[str, D4RLDataset]]:
    for task, (random, expert, steps) in _ADROIT.items():
        for kind in _ADROIT_KINDS:
            files = {"v0": _ADROIT_V0[kind].format(task), "v1": f"{task}-{kind}-v1"}
            for version, file in files.items():
                yield (
                    f"{task}-{kind}-{version}",
                    D4RLDataset(random=random, expert=expert, max_episode_steps=steps, file=file),
                )
    for kind, file in _KITCHEN.items():
        yield (
            f"kitchen-{kind}-v0",
            D4RLDataset(random=0.0, expert=4.0, max_episode_steps=_KITCHEN_STEPS, file=file),
        )


def _mazes() -> Iterator[tuple[str, D4RLDataset]]:
    for kind, (maze, steps) in _ANTMAZE.items():
        for version, ending in _ANTMAZE_VERSIONS.items():
            file = f"Ant_maze_{maze}_{ending}"
            yield (
                f"antmaze-{kind}-{version}",
                D4RLDataset(random=0.0, expert=1.0, max_episode_steps=steps, file=file),
            )
    for name, (random, expert, steps, file) in _MAZE2D.items():
        yield (
            name,
            D4RLDataset(random=random, expert=expert, max_episode_steps=steps, file=file),
        )


D4RL_DATASETS: dict[str, D4RLDataset] = dict([*_mujoco(), *_manipulation(), *_mazes()])
_BY_FILE = {dataset.file.lower(): name for name, dataset in D4RL_DATASETS.items()}
_VERSION = re.compile(r"-v\d+$")


def d4rl_name(text: str) -> str | None:
    """Return the name of a dataset of D4RL, given that name or its file's; None if it is none.

    Capitals, and hyphens for underscores, make no difference: `hopper_medium_expert-v2` and
    `hopper-medium-expert-v2` are the same.
    """
    text = text.lower()
    name = _BY_FILE.get(text, text.replace("_", "-"))
    return name if name in D4RL_DATASETS else None


def reference_scores(name: str) -> ReferenceScores | None:
    """Return what normalises returns on a dataset of D4RL, None for any other name.

    The family holds the version, "d4rl-v2", so that scores of two versions are never put together.
    """
    dataset = D4RL_DATASETS.get(name)
    version = _VERSION.search(name)
    if dataset is None or version is None:
        return None
    family = f"d4rl{version.group()}"
    return ReferenceScores(random=dataset.random, expert=dataset.expert, family=family)
