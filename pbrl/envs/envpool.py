"""The EnvPool back end: the official tasks rewritten in C++, stepped by a pool of threads."""

import importlib
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Float32

from pbrl.envs.checks import check_action_space, check_actions, check_finite
from pbrl.envs.envpool_parity import AGREES, DIFFERS
from pbrl.envs.opengl import RenderingUnavailable
from pbrl.envs.record import EnvRecord, installed_versions
from pbrl.envs.registry import SOURCES, parse_id
from pbrl.envs.states import State
from pbrl.envs.vector import Lane, StepResult, lane_seeds, unit_box

PACKAGES = ("envpool", "numpy")
NUM_SEEDS = 2**31  # EnvPool takes 32-bit signed seeds
SHARED_OPTIONS = frozenset({"max_episode_steps", "num_threads"})
OPTIONS = {
    "gym": SHARED_OPTIONS,
    "dmc": SHARED_OPTIONS,
    "metaworld": SHARED_OPTIONS | {"goal_visible", "reward_version"},
}
OUR_REWARD_VERSION = "v2"


def supports(env_id: str, **options: Any) -> bool:
    """Say whether `backend="auto"` may take EnvPool: the task is measured to agree, options fit.

    What was measured, and what disagrees, stands in `pbrl.envs.envpool_parity`.
    """
    source, _, task = env_id.partition("/")
    return (
        task in AGREES.get(source, ())
        and OPTIONS[source] >= options.keys()
        and options.get("reward_version", OUR_REWARD_VERSION) == OUR_REWARD_VERSION
    )


def envpool_name(env_id: str) -> str:
    """Return EnvPool's name of a task: `dmc/walker-walk` is `WalkerWalk-v1`."""
    source, _, task = env_id.partition("/")
    match source:
        case "gym":
            return task
        case "dmc":
            return f"{_camel_case(task.replace('_', '-'))}-v1"
        case "metaworld":
            name, _, version = task.rpartition("-")
            return f"MetaWorld/{_camel_case(name)}-{version}"
        case _:
            raise ValueError(f"unknown source {source!r}; there are {', '.join(SOURCES)}")


def _camel_case(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("-"))


def make(
    env_id: str,
    num_envs: int,
    *,
    seed: int | Sequence[int] = 0,
    frame_size: tuple[int, int] = (240, 320),
    num_threads: int | None = None,
    **options: Any,
) -> "EnvPoolVectorEnv":
    """Return a task of EnvPool; what `pbrl.envs.make` calls.

    Args:
        env_id: id with its source, `dmc/walker-walk`.
        num_envs: number of sub-environments.
        seed: see `lane_seeds`; used by the first `reset`.
        frame_size: not used, because there are no frames.
        num_threads: by default one for each processor this process may use, at most one for
            each sub-environment.
        **options: `max_episode_steps`; for Meta-World `goal_visible`, and `reward_version` as
            far as it is "v2".

    Raises:
        ImportError: if EnvPool is not installed.
        ValueError: if EnvPool lacks the task or the option.
    """
    del frame_size
    source, task = parse_id(env_id)
    if unknown := sorted(options.keys() - OPTIONS[source]):
        raise ValueError(
            f"backend 'envpool' has no option {', '.join(unknown)} for {env_id}; it has "
            f"{', '.join(sorted(OPTIONS[source]))}. backend='official' has the others."
        )
    if options.get("reward_version", OUR_REWARD_VERSION) != OUR_REWARD_VERSION:
        raise ValueError(
            f"backend 'envpool' has reward_version 'v2' only, got {options['reward_version']!r}; "
            "use backend='official'"
        )
    envpool = _import_envpool()
    if envpool_name(env_id) not in envpool.list_all_envs():
        raise ValueError(f"EnvPool has no {env_id}; use backend='official'")
    if env_id in DIFFERS:
        warnings.warn(
            f"{env_id} of EnvPool is not known to be the official task: {DIFFERS[env_id]}",
            stacklevel=3,
        )
    return EnvPoolVectorEnv(
        env_id,
        importlib.import_module(SOURCES[source]).make_lane(task, seed=0, **options),
        num_envs,
        seed=seed,
        num_threads=num_threads,
        options=options,
    )


def _import_envpool() -> Any:
    try:
        return importlib.import_module("envpool")
    except ImportError as error:
        raise ImportError(
            "backend 'envpool' needs the package envpool: pip install 'pbrl[envpool]'"
        ) from error


class EnvPoolVectorEnv(VectorEnv[Any, Any, Any]):
    """Sub-environments of EnvPool behind the interface of `SerialVectorEnv`.

    EnvPool resets a finished sub-environment in the next step, and returns a reward for it. Here
    finished ones are reset by number within the same step, after which EnvPool has no reset of its
    own left to do: every step is one of an episode.

    Departures from the official environments: when the time limit falls on the very step in which
    an episode terminates, EnvPool reports truncation only; `final_info` holds `success` or
    nothing; frames and simulator states are not to be had.

    Args:
        env_id: the id given to `pbrl.envs.make`.
        official: the official task, asked for its spaces and its time limit.
        num_envs: number of sub-environments.
        seed: see `lane_seeds`; used by the first `reset` that is given none.
        num_threads: see `make`.
        options: what goes into the record.

    Attributes:
        record: what is run.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}
    render_mode = None

    def __init__(
        self,
        env_id: str,
        official: Lane,
        num_envs: int,
        *,
        seed: int | Sequence[int] = 0,
        num_threads: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        options = options or {}
        self.num_envs = num_envs
        self.record = EnvRecord(
            id=env_id,
            backend="envpool",
            num_envs=num_envs,
            max_episode_steps=official.max_episode_steps,
            reward_version=official.reward_version,
            goal_visible=official.goal_visible,
            options={key: repr(value) for key, value in options.items()},
            versions=installed_versions(PACKAGES),
        )
        self._set_spaces(official)
        self._keys = _observation_keys(official)
        self._make_options: dict[str, Any] = {
            "num_envs": num_envs,
            "num_threads": num_threads or min(num_envs, _num_processors()),
            "max_episode_steps": official.max_episode_steps,
        }
        if official.goal_visible is not None:
            self._make_options["partially_observable"] = not official.goal_visible
        official.close()
        self._num_steps = 0
        self._pool = self._make_pool(seed)

    def _set_spaces(self, official: Lane) -> None:
        space = official.observation_space
        native = check_action_space(official.action_space, self.record.id)
        self._centre = ((native.high + native.low) / 2).ravel().astype(np.float32)
        self._half_range = ((native.high - native.low) / 2).ravel().astype(np.float32)
        self._is_native = not self._centre.any() and bool((self._half_range == 1.0).all())
        self._action_shape = (self.num_envs, len(self._centre))
        self.single_observation_space = spaces.Box(
            space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32
        )
        self.single_action_space = unit_box(native.shape)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def _make_pool(self, seed: int | Sequence[int]) -> Any:
        seeds = [one % NUM_SEEDS for one in lane_seeds(seed, self.num_envs)]
        pool = _import_envpool().make_gymnasium(
            envpool_name(self.record.id), env_seed=seeds, **self._make_options
        )
        with warnings.catch_warnings():
            # Its bounds are float64, its observations float32: nobody can do anything about it.
            warnings.filterwarnings("ignore", message=".*precision lowered by casting.*")
            _ = pool.observation_space  # made once, when it is first asked for
        return pool

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Float32[np.ndarray, "env obs"], dict[str, Any]]:
        """Start an episode in every sub-environment.

        Args:
            seed: see `lane_seeds`; makes a new pool, because EnvPool seeds only then. None goes on
                with the running random generators.
            options: not used.

        Returns:
            Observations `[env, obs]` and an empty dict.
        """
        del options
        if seed is not None:
            self._pool.close()
            self._pool = self._make_pool(seed)
        observations = self._flat(self._pool.reset()[0])
        check_finite(self.record.id, self._num_steps, observations)
        return observations, {}

    def step(self, actions: Any) -> StepResult:
        """Take one step in every sub-environment.

        Args:
            actions: `[env, act]`, in [-1, 1].

        Raises:
            ValueError: if the actions have another shape or are not numbers.
            EnvironmentFault: if an observation or a reward is not finite.
        """
        native = check_actions(actions, self._action_shape)
        if not self._is_native:
            native = native * self._half_range + self._centre
        raw, rewards, terminated, truncated, info = self._pool.step(native)
        self._num_steps += 1
        observations = self._flat(raw)
        rewards = rewards.astype(np.float32, copy=False)
        check_finite(self.record.id, self._num_steps, observations, rewards)
        infos: dict[str, Any] = {}
        if "success" in info:
            infos["success"] = info["success"] > 0
        finished = terminated | truncated
        if finished.any():
            self._start_next_episodes(observations, finished, infos)
        return observations, rewards, terminated, truncated, infos

    def _start_next_episodes(
        self, observations: np.ndarray, finished: np.ndarray, infos: dict[str, Any]
    ) -> None:
        """Reset the finished sub-environments and put what they ended with into `infos`."""
        final_observations = np.full(self.num_envs, None, dtype=object)
        rows = np.flatnonzero(finished).astype(np.int32)
        for row in rows:
            final_observations[row] = observations[row].copy()
        final_info: dict[str, Any] = {}
        if "success" in infos:
            final_info = {"success": infos["success"] & finished, "_success": finished}
        infos.update(
            final_obs=final_observations,
            _final_obs=finished,
            final_info=final_info,
            _final_info=finished,
        )
        first, reset_info = self._pool.reset(rows)
        first = self._flat(first)
        check_finite(self.record.id, self._num_steps, first)
        observations[reset_info["env_id"]] = first

    def _flat(self, raw: Any) -> Float32[np.ndarray, "row obs"]:
        """Return observations as float32 rows, with the entries of the official task alone."""
        if not isinstance(raw, dict):
            return np.asarray(raw, dtype=np.float32)
        parts = [raw[key].reshape(len(raw[key]), -1) for key in self._keys]
        return np.concatenate(parts, axis=1, dtype=np.float32, casting="same_kind")

    def render(self) -> Any:
        """Not possible: EnvPool gives neither frames without a GPU nor the simulator's state.

        Raises:
            RenderingUnavailable: always, naming the back end that renders.
        """
        raise RenderingUnavailable(
            f"{self.record.id} runs in EnvPool, which cannot render here: make it with "
            "backend='official' to get frames. Policies and data fit both back ends."
        )

    def get_state(self, index: int) -> State:
        """Not possible: EnvPool does not give the simulator's state.

        Raises:
            NotImplementedError: always, naming the back end that has states.
        """
        del index
        raise NotImplementedError(
            f"{self.record.id} runs in EnvPool, whose simulator states cannot be read: make it "
            "with backend='official'"
        )

    def set_state(self, index: int, state: State) -> None:
        """Not possible, see `get_state`.

        Raises:
            NotImplementedError: always.
        """
        del state
        self.get_state(index)

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the threads."""
        del kwargs
        self._pool.close()


def _num_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _observation_keys(official: Lane) -> tuple[str, ...]:
    """Return the entries of a DMC task in its own order; EnvPool has more, or another order."""
    env = getattr(official, "env", None)
    spec = getattr(env, "observation_spec", None)
    return () if spec is None else tuple(spec())
