"""Sub-environments stepped by rollout workers on the nodes of a Ray cluster."""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import UInt8

from pbrl.cluster import AUTO, Cluster, NodeFault
from pbrl.envs.checks import EnvironmentFault, check_actions
from pbrl.envs.record import EnvRecord
from pbrl.envs.registry import SOURCES, EnvConstructor, make, parse_id
from pbrl.envs.states import State
from pbrl.envs.tensors import TensorVectorEnv
from pbrl.envs.vector import StepResult, lane_seeds

BATCHED = "mjx"  # the source whose worlds are stepped together
START_SECONDS = 120.0  # for a place on the cluster, and to make the environments there


class RolloutWorkerLost(ConnectionError):
    """A rollout worker is gone, and the episodes that it was in."""


def make_on_workers(
    env_id: str | EnvConstructor,
    num_envs: int,
    *,
    workers: int,
    seed: int | Sequence[int] = 0,
    address: str = AUTO,
    device: torch.device | str | None = None,
    **options: Any,
) -> VectorEnv[Any, Any, Any]:
    """Return what `pbrl.envs.make` returns, stepped elsewhere: equal seeds give equal steps.

    Worth it where a step of all sub-environments takes several milliseconds in one process.

    Args:
        env_id: see `make`; batched physics is stepped in one process alone.
        num_envs: number of sub-environments.
        workers: processes on the cluster, one CPU each, that share the sub-environments.
        seed: see `make`.
        address: see `pbrl.cluster.Cluster`.
        device: see `make`.
        **options: see `make`; `backend` and `frame_size` among them.

    Raises:
        ImportError: if Ray is not installed.
        ConnectionError: if no cluster answers.
        NodeFault: if nodes cannot run the environment as this program would.
        ValueError: if there are too few CPUs, or `make` refuses what is asked.
    """
    if not 1 <= workers <= num_envs:
        raise ValueError(f"workers must lie in [1, num_envs {num_envs}], got {workers}")
    source = parse_id(env_id)[0] if isinstance(env_id, str) else "gym"
    if source == BATCHED and options.get("backend") != "official":
        raise ValueError(f"{env_id} steps its worlds together in one process: leave workers out")
    cluster = Cluster(address)
    packages = importlib.import_module(SOURCES[source]).PACKAGES
    _check(cluster, workers, (*packages, "envpool"))
    env = RayVectorEnv(cluster, env_id, lane_seeds(seed, num_envs), workers, options)
    return env if device is None else TensorVectorEnv(env, device)


def _check(cluster: Cluster, workers: int, packages: Sequence[str]) -> None:
    nodes = [node for node in cluster.nodes() if node.num_places(1.0, 0.0)]
    places = sum(node.num_places(1.0, 0.0) for node in nodes)
    if places < workers:
        raise NodeFault(
            f"{workers} rollout workers need a CPU each, and the cluster at {cluster.address} has "
            f"{places}: lower workers, or start more nodes"
        )
    cluster.check_nodes(nodes, packages=packages)


class EnvWorker:
    """Some of the sub-environments, in a process of a node."""

    def __init__(self) -> None:
        self._env: Any = None

    def make(
        self, env_id: str | EnvConstructor, seeds: list[int], options: dict[str, Any]
    ) -> tuple[EnvRecord, Any, Any]:
        """Make the sub-environments; return what they are, and the spaces of one of them."""
        self._env = make(env_id, len(seeds), seed=seeds, **options)
        return (
            self._env.record,
            self._env.single_observation_space,
            self._env.single_action_space,
        )

    def reset(self, seeds: list[int] | None) -> np.ndarray:
        """Start an episode in each."""
        observations: np.ndarray = self._env.reset(seed=seeds)[0]
        return observations

    def step(self, actions: np.ndarray) -> StepResult:
        """Take a step in each."""
        result: StepResult = self._env.step(actions)
        return result

    def render(self) -> np.ndarray:
        """Return a frame of each."""
        frames: np.ndarray = self._env.render()
        return frames

    def get_state(self, index: int) -> State:
        """Return the simulator's state of one."""
        state: State = self._env.get_state(index)
        return state

    def set_state(self, index: int, state: State) -> None:
        """Bring one into a state; arrays that Ray brings cannot be written to, copies can."""
        self._env.set_state(index, {name: value.copy() for name, value in state.items()})


class RayVectorEnv(VectorEnv[Any, Any, Any]):
    """Sub-environments in equal shares on rollout workers, as one vector environment.

    A worker that is lost is not replaced: its sub-environments were in the middle of episodes whose
    next observations nobody has, and steps would have to be invented. The error says so, and a run
    goes on from its checkpoint.

    Args:
        cluster: where the workers live.
        env_id: see `make`.
        seeds: one per sub-environment.
        workers: how many share them.
        options: of `make`.

    Attributes:
        record: what is run, the same as in one process.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": ["rgb_array"]}
    render_mode = "rgb_array"

    def __init__(
        self,
        cluster: Cluster,
        env_id: str | EnvConstructor,
        seeds: Sequence[int],
        workers: int,
        options: dict[str, Any],
    ) -> None:
        self.num_envs = len(seeds)
        self._ray = cluster.ray
        self._shares = np.array_split(np.arange(self.num_envs), workers)
        self._first = [int(share[0]) for share in self._shares]
        actor = self._ray.remote(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD")(
            EnvWorker
        )
        self._workers = [actor.remote() for _ in self._shares]
        self.record: EnvRecord
        made = self._all(
            "make",
            [(env_id, [seeds[i] for i in share], options) for share in self._shares],
            timeout=START_SECONDS,
        )
        record, observation_space, action_space = made[0]
        self.single_observation_space, self.single_action_space = observation_space, action_space
        self._action_shape = (self.num_envs, *action_space.shape)
        self.record = EnvRecord(**{**record.as_dict(), "num_envs": self.num_envs})
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode in every sub-environment.

        Args:
            seed: see `lane_seeds`; None goes on with the running random generators.
            options: not used.
        """
        del options
        seeds = None if seed is None else lane_seeds(seed, self.num_envs)
        shares = [(seeds and [seeds[i] for i in share],) for share in self._shares]
        return np.concatenate(self._all("reset", shares)), {}

    def step(self, actions: Any) -> StepResult:
        """Take one step in every sub-environment, those of all workers at once.

        Args:
            actions: `[env, act]`, in [-1, 1].

        Raises:
            ValueError: if the actions have another shape or are not numbers.
            EnvironmentFault: if an observation or a reward is not finite.
            RolloutWorkerLost: if a worker is gone.
        """
        unit = check_actions(actions, self._action_shape)
        parts = self._all("step", [(unit[share],) for share in self._shares])
        infos = merge_infos([part[-1] for part in parts], [len(share) for share in self._shares])
        return (
            np.concatenate([part[0] for part in parts]),
            np.concatenate([part[1] for part in parts]),
            np.concatenate([part[2] for part in parts]),
            np.concatenate([part[3] for part in parts]),
            infos,
        )

    def render(self) -> UInt8[np.ndarray, "env height width 3"]:  # type: ignore[override]
        """Return a frame of every sub-environment in its present state."""
        frames: np.ndarray = np.concatenate(self._all("render", [()] * len(self._shares)))
        return frames

    def get_state(self, index: int) -> State:
        """Return the simulator's state of one sub-environment."""
        worker = self._worker_of(index)
        (state,) = self._all("get_state", [(index - self._first[worker],)], [worker])
        copied: State = {name: value.copy() for name, value in state.items()}
        return copied

    def set_state(self, index: int, state: State) -> None:
        """Bring one sub-environment into a state of `get_state` of an equal environment."""
        worker = self._worker_of(index)
        self._all("set_state", [(index - self._first[worker], state)], [worker])

    def _worker_of(self, index: int) -> int:
        if not 0 <= index < self.num_envs:
            raise IndexError(f"there are sub-environments 0 to {self.num_envs - 1}, got {index}")
        return int(np.searchsorted(self._first, index, side="right")) - 1

    def _all(
        self,
        method: str,
        arguments: Sequence[tuple[Any, ...]],
        workers: Sequence[int] | None = None,
        timeout: float | None = None,
    ) -> list[Any]:
        """Return what the workers answer, asked at the same time."""
        asked = range(len(self._workers)) if workers is None else workers
        answers = [
            getattr(self._workers[worker], method).remote(*words)
            for worker, words in zip(asked, arguments, strict=True)
        ]
        return [
            self._get(worker, answer, timeout)
            for worker, answer in zip(asked, answers, strict=True)
        ]

    def _get(self, worker: int, answer: Any, timeout: float | None) -> Any:
        errors = self._ray.exceptions
        name = f"rollout worker {worker} (sub-environments {self._names(worker)})"
        try:
            return self._ray.get(answer, timeout=timeout)
        except errors.RayTaskError as error:  # raised by the environment
            if isinstance(error.cause, EnvironmentFault):
                raise EnvironmentFault(f"{name}, counted from its own first: {error.cause}") \
                    from None  # fmt: skip
            raise error.cause from None
        except errors.GetTimeoutError:
            raise RolloutWorkerLost(
                f"{name} did not start within {timeout:g} seconds: the CPUs of the cluster are "
                "taken by others, or its nodes are overloaded"
            ) from None
        except errors.RayError as error:
            reason = " ".join(str(error).split())
            raise RolloutWorkerLost(
                f"{name} was lost in the middle of its episodes: go on from the last checkpoint "
                f"with --resume. {reason}"
            ) from None

    def _names(self, worker: int) -> str:
        share = self._shares[worker]
        return f"{share[0]} to {share[-1]}"

    def close_extras(self, **kwargs: Any) -> None:
        """End the workers; the connection to the cluster stays for whoever else uses it."""
        del kwargs
        for worker in self._workers:
            self._ray.kill(worker, no_restart=True)


def merge_infos(infos: Sequence[dict[str, Any]], sizes: Sequence[int]) -> dict[str, Any]:
    """Return the infos of parts of a vector environment as those of the whole.

    Arrays are joined; where a part lacks one, zeros or None stand, as Gymnasium does it.

    Args:
        infos: of each part, arrays by sub-environment and dicts of such.
        sizes: sub-environments of each part.
    """
    merged: dict[str, Any] = {}
    for key in dict.fromkeys(key for part in infos for key in part):
        present = [part[key] for part in infos if key in part]
        if isinstance(present[0], dict):
            merged[key] = merge_infos([part.get(key, {}) for part in infos], sizes)
            continue
        like = present[0]
        blank = None if like.dtype == object else like.dtype.type(0)
        merged[key] = np.concatenate(
            [
                part.get(key, np.full((size, *like.shape[1:]), blank, like.dtype))
                for part, size in zip(infos, sizes, strict=True)
            ]
        )
    return merged
