"""The official program of B-Pref, which PEBBLE and QPA build on, run from a checkout.

Its modules lie in the checkout's top folder and are called `agent`, `utils`, `replay_buffer` and
`reward_model`. They import simulators and Hydra, which are stood in for; what Hydra would build
from its files is built from functions.
"""

import importlib
import types
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pbrl.agents.sac import SACConfig
from pbrl.replay import ReplayBuffer
from speed.measure import ACTION_DIM, OBSERVATION_DIM
from speed.official import importable, stand_ins

PACKAGES = ("agent", "utils", "replay_buffer", "reward_model")
STOOD_IN_FOR = (
    "dmc2gym", "gym", "gym.wrappers", "gym.wrappers.time_limit", "metaworld", "metaworld.envs",
    "metaworld.envs.mujoco", "metaworld.envs.mujoco.env_dict", "rlkit", "rlkit.envs",
    "rlkit.envs.wrappers", "skimage", "skimage.util", "skimage.util.shape", "tqdm",
)  # fmt: skip


class Silent:
    """A logger that hears everything and keeps nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def load(checkout: Path) -> types.SimpleNamespace:
    """Return the modules of a checkout that an update needs.

    Raises:
        ValueError: if the checkout is not this program.
    """
    if not (checkout / "reward_model.py").is_file():
        raise ValueError(f"{checkout} holds no file reward_model.py")
    hydra = types.ModuleType("hydra")
    hydra.utils = types.SimpleNamespace(instantiate=lambda build: build())  # type: ignore[attr-defined]
    modules = stand_ins(*STOOD_IN_FOR) | {"hydra": hydra}
    with importable(checkout, PACKAGES, modules), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = ("agent.sac", "agent.critic", "agent.actor", "replay_buffer", "reward_model")
        found = {name.split(".")[-1]: importlib.import_module(name) for name in names}
    return types.SimpleNamespace(**found)


def sac_updates(
    checkout: Path, hidden_sizes: tuple[int, ...], batch_size: int, replay: ReplayBuffer
) -> Callable[[int], None]:
    """Return updates of B-Pref's SAC, each with a batch drawn from its own replay."""
    program, config, device = load(checkout), SACConfig(), str(replay.device)
    dims = (OBSERVATION_DIM, ACTION_DIM)
    sizes = {"hidden_dim": hidden_sizes[0], "hidden_depth": len(hidden_sizes)}
    agent = program.sac.SACAgent(
        *dims,
        (-1.0, 1.0),
        device,
        partial(program.critic.DoubleQCritic, *dims, **sizes),
        partial(
            program.actor.DiagGaussianActor, *dims, log_std_bounds=config.log_std_bounds, **sizes
        ),
        discount=config.discount,
        init_temperature=config.initial_temperature,
        alpha_lr=config.temperature_lr,
        alpha_betas=config.betas,
        actor_lr=config.actor_lr,
        actor_betas=config.betas,
        actor_update_frequency=config.actor_update_every,
        critic_lr=config.critic_lr,
        critic_betas=config.betas,
        critic_tau=config.target_rate,
        critic_target_update_frequency=config.target_update_every,
        batch_size=batch_size,
        learnable_temperature=True,
    )
    buffer = stored(program, replay)
    taken = 0

    def run(repetitions: int) -> None:
        nonlocal taken
        for _ in range(repetitions):
            agent.update(buffer, Silent(), taken)
            taken += 1

    return run


def stored(program: types.SimpleNamespace, replay: ReplayBuffer) -> Any:
    """Return a replay of theirs with random steps, as many as ours has."""
    shapes, number = ((OBSERVATION_DIM,), (ACTION_DIM,)), replay.num_steps
    buffer = program.replay_buffer.ReplayBuffer(*shapes, number, str(replay.device))
    random = np.random.default_rng(0)
    for name in ("obses", "next_obses", "actions", "rewards"):
        array = getattr(buffer, name)
        array[:] = random.uniform(-1, 1, array.shape)
    buffer.not_dones[:] = buffer.not_dones_no_max[:] = 1.0
    buffer.idx, buffer.full = number - 1, True
    return buffer


def reward_training(
    checkout: Path, inputs: torch.Tensor, labels: torch.Tensor
) -> Callable[[int], None]:
    """Return passes of B-Pref's three members over labelled pairs.

    Args:
        checkout: of the program.
        inputs: `[query, two, time, feature]`.
        labels: 0 or 1.
    """
    program = load(checkout)
    program.reward_model.device = str(inputs.device)
    number, _, steps, _ = inputs.shape
    model = program.reward_model.RewardModel(
        OBSERVATION_DIM, ACTION_DIM, size_segment=steps, capacity=number
    )
    pairs = inputs.cpu().numpy()
    model.buffer_seg1[:], model.buffer_seg2[:] = pairs[:, 0], pairs[:, 1]
    model.buffer_label[:, 0] = labels.cpu().numpy()
    model.buffer_full = True

    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            model.train_reward()

    return run


def relabelling(checkout: Path, replay: ReplayBuffer) -> Callable[[int], None]:
    """Return passes of B-Pref's reward over as many steps as a replay has."""
    program = load(checkout)
    program.reward_model.device = str(replay.device)
    model = program.reward_model.RewardModel(OBSERVATION_DIM, ACTION_DIM, capacity=1)
    buffer = stored(program, replay)

    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            buffer.relabel_with_predictor(model)

    return run
