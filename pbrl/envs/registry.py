"""`make`: one call for every environment, whatever its source."""

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from types import ModuleType
from typing import Any

import gymnasium
import torch
from gymnasium.vector import VectorEnv

from pbrl.devices import find_device
from pbrl.envs.pixels import PixelConfig, PixelLane, make_renderer
from pbrl.envs.record import EnvRecord, installed_versions
from pbrl.envs.tensors import TensorVectorEnv
from pbrl.envs.vector import Lane, SerialVectorEnv, lane_seeds
from pbrl.lookup import suggest

EnvConstructor = Callable[[], gymnasium.Env[Any, Any]]

SOURCES = {
    "gym": "pbrl.envs.gym",
    "dmc": "pbrl.envs.dmc",
    "metaworld": "pbrl.envs.metaworld",
    "mjx": "pbrl.envs.mjx",
}
BATCHED = "mjx"  # the source whose worlds step together
BACKENDS = ("auto", "official", "envpool")
BATCHED_BACKENDS = ("auto", "official", "rollout", "mjx")


def make(
    env_id: str | EnvConstructor,
    num_envs: int = 1,
    *,
    seed: int | Sequence[int] = 0,
    device: torch.device | str | None = None,
    backend: str = "auto",
    frame_size: tuple[int, int] = (240, 320),
    pixels: PixelConfig | None = None,
    **options: Any,
) -> VectorEnv[Any, Any, Any]:
    """Return a vector environment; autoreset is SAME_STEP, actions lie in [-1, 1].

    Observations are flat float32, as images flat uint8; rewards are float32. `env.record` says
    what is run.

    Args:
        env_id: `gym/<any id registered with Gymnasium>`, `dmc/<domain>-<task>`,
            `metaworld/<task>-v3`, `metaworld/<task>-v3-cpl` for the protocol of CPL,
            `mjx/<domain>-<task>` for batched physics, or a function that returns a
            `gymnasium.Env`.
        num_envs: number of sub-environments.
        seed: one number, from which every sub-environment gets its own stream, or one number for
            each. The first `reset` uses it. With batched physics all worlds share one stream.
        device: None for numpy arrays, otherwise tensors on that device.
        backend: "official" for the source's own Python package, "envpool" for the C++ version of
            the same task, "auto" for envpool where it is installed and has the task. For batched
            physics "rollout" is the threads of the CPU, "mjx" jax on `device`, "auto" the latter
            on a GPU, and "official" the task of dm_control.
        frame_size: height and width in pixels of what `render` returns.
        pixels: what is seen of a MuJoCo task instead of its state, with the official back end.
        **options: `max_episode_steps` (by default the source's own) and `camera` (name or number)
            for every source; `goal_visible` (default False, as in B-Pref and PEBBLE) and
            `reward_version` ("v2" or "v1") for Meta-World; `task_kwargs` for DMC. With `gym/`
            everything else goes to `gymnasium.make`.

    Raises:
        ValueError: if an id, a source or an option is unknown (the message names the nearest ids),
            the actions are not continuous and bounded, the device is not there, or its memory too
            small.
        ImportError: if a package is missing, naming the extra to install, or OpenGL for images.
    """
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, got {num_envs}")
    device = None if device is None else find_device(device)
    is_batched = isinstance(env_id, str) and parse_id(env_id)[0] == BATCHED
    legal = BATCHED_BACKENDS if is_batched else BACKENDS
    if backend not in legal:
        raise ValueError(f"{env_id}: backend must be one of {legal}, got {backend!r}")
    env: VectorEnv[Any, Any, Any]
    if pixels is not None:
        if backend not in ("auto", "official"):
            raise ValueError(f"images are drawn with the backend 'official' alone, got {backend!r}")
        backend = "official"
    if is_batched and backend != "official":
        env = _load(BATCHED).make(
            env_id,
            num_envs,
            seed=seed,
            device=device,
            backend=backend,
            frame_size=frame_size,
            **options,
        )
        return env
    if isinstance(env_id, str) and _choose_envpool(env_id, backend, options):
        module = importlib.import_module("pbrl.envs.envpool")
        env = module.make(env_id, num_envs, seed=seed, frame_size=frame_size, **options)
    else:
        env = _make_official(
            env_id, num_envs, seed=seed, frame_size=frame_size, pixels=pixels, options=options
        )
    return env if device is None else TensorVectorEnv(env, device)


def list_ids(source: str | None = None) -> tuple[str, ...]:
    """Return the ids that `make` knows, of one source ("gym", "dmc", "metaworld", "mjx") or of all.

    Every other id registered with Gymnasium works too, as `gym/<id>`.

    Raises:
        ValueError: if there is no such source.
    """
    if source is None:
        return tuple(env_id for name in SOURCES for env_id in list_ids(name))
    if source not in SOURCES:
        raise ValueError(f"unknown source {source!r}; there are {', '.join(SOURCES)}")
    return tuple(f"{source}/{task}" for task in _load(source).list_tasks())


def _load(source: str) -> ModuleType:
    return importlib.import_module(SOURCES[source])


def _choose_envpool(env_id: str, backend: str, options: dict[str, Any]) -> bool:
    """Say whether envpool runs this environment."""
    if backend == "official":
        return False
    if not all(importlib.util.find_spec(name) for name in ("envpool", "pbrl.envs.envpool")):
        if backend == "envpool":
            raise ImportError(
                "backend 'envpool' needs the package envpool: pip install 'pbrl[envpool]'"
            )
        return False
    if backend == "envpool":
        return True
    return bool(importlib.import_module("pbrl.envs.envpool").supports(env_id, **options))


def _make_official(
    env_id: str | EnvConstructor,
    num_envs: int,
    *,
    seed: int | Sequence[int],
    frame_size: tuple[int, int],
    pixels: PixelConfig | None,
    options: dict[str, Any],
) -> SerialVectorEnv:
    task: str | EnvConstructor
    if isinstance(env_id, str):
        name = env_id
        source, task = parse_id(env_id)
    else:
        name = getattr(env_id, "__qualname__", repr(env_id))
        source, task = "gym", env_id
    module = _load(source)
    check_options(name, module.make_lane, options)
    seeds = lane_seeds(seed, num_envs)
    if pixels is not None:
        options = pixels.camera_options(name) | options
    lanes: list[Lane] = [module.make_lane(task, seed=one, **options) for one in seeds]
    if pixels is not None:
        renderer = make_renderer(pixels, name)
        lanes = [PixelLane(lane, pixels, renderer) for lane in lanes]
        options = options | {"pixels": pixels}
    record = EnvRecord(
        id=name,
        backend="official",
        num_envs=num_envs,
        max_episode_steps=lanes[0].max_episode_steps,
        reward_version=lanes[0].reward_version,
        goal_visible=lanes[0].goal_visible,
        options={key: repr(value) for key, value in options.items()},
        versions=installed_versions(module.PACKAGES),
    )
    return SerialVectorEnv(lanes, record=record, seed=seed, frame_size=frame_size)


def check_options(name: str, make_lane: Callable[..., Lane], options: Mapping[str, Any]) -> None:
    """Refuse options that a source's `make_lane` does not take.

    Raises:
        ValueError: naming them and those that there are.
    """
    parameters = signature(make_lane).parameters.values()
    if any(one.kind is Parameter.VAR_KEYWORD for one in parameters):
        return
    known = {one.name for one in parameters if one.kind is Parameter.KEYWORD_ONLY} - {"seed"}
    if unknown := sorted(options.keys() - known):
        raise ValueError(f"{name} has no option {', '.join(unknown)}; it has {sorted(known)}")


def parse_id(env_id: str) -> tuple[str, str]:
    """Return source and task of an id.

    Raises:
        ValueError: if there is no such id, naming the nearest ones.
    """
    source, slash, task = env_id.partition("/")
    prefixes = ", ".join(f"{name}/" for name in SOURCES)
    if not slash or source not in SOURCES:
        raise ValueError(
            f"unknown environment {env_id!r}: an id starts with {prefixes}"
            + suggest(env_id, list_ids())
        )
    if not _load(source).has_task(task):
        raise ValueError(f"unknown environment {env_id!r}{suggest(env_id, list_ids(source))}")
    return source, task
