"""Recording any vector loop into episodes and trajectory segments."""

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from jaxtyping import Bool
from torch import Tensor

from pbrl.envs.checks import (
    EnvironmentFault,
    autoreset_mode,
    check_action_space,
    final_observations,
)
from pbrl.replay import ReplayBuffer
from pbrl.segments import Segments

DEFAULT_CAPACITY = 1_000_000


class Step(NamedTuple):
    """The arguments of `ReplayBuffer.add`, one row per environment."""

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    true_rewards: Tensor
    next_observations: Tensor
    terminated: Tensor
    truncated: Tensor


class EpisodeWriter:
    """Puts the steps of several lanes into a replay buffer, whatever rhythm the lanes keep.

    With one lane of the replay for each lane here, a step of all lanes goes straight in. A replay
    with a single lane takes one episode after the other, each when it is complete: the lanes may
    then take their steps at different times.

    Args:
        replay: where the steps go; it has `num_lanes` environments or one.
        num_lanes: how many environments are recorded.

    Raises:
        ValueError: if the replay has another number of environments.
    """

    def __init__(self, replay: ReplayBuffer, num_lanes: int) -> None:
        if replay.num_envs not in (1, num_lanes):
            raise ValueError(
                f"a replay for {num_lanes} environments must be made with num_envs={num_lanes}, "
                f"or with num_envs=1 to take whole episodes; this one has {replay.num_envs}"
            )
        self.replay = replay
        self.takes_episodes = replay.num_envs < num_lanes
        self._pending: list[list[Step]] = [[] for _ in range(num_lanes)]

    def add(self, step: Step, is_step: Bool[np.ndarray, " lane"]) -> None:
        """Add a step of every lane.

        Args:
            step: one row per lane.
            is_step: false for lanes that took no step of an episode this time.

        Raises:
            EnvironmentFault: if an observation, an action or a reward is not finite, naming lane
                and values; the step is not recorded then.
        """
        self._check(step, is_step)
        if not self.takes_episodes:
            if is_step.all():
                self.replay.add(*step)
            return
        ended = (step.terminated | step.truncated).tolist()
        for lane in np.flatnonzero(is_step).tolist():
            row = Step(*(field[lane : lane + 1].clone() for field in step))
            self._pending[lane].append(row)
            if ended[lane]:
                self._write(lane)

    def _check(self, step: Step, is_step: Bool[np.ndarray, " lane"]) -> None:
        floats = {
            name: field for name, field in step._asdict().items() if field.is_floating_point()
        }
        total = torch.stack([field.sum() for field in floats.values()]).sum()
        if bool(total.isfinite()):  # one look at the device; a sum can also overflow
            return
        for name, field in floats.items():
            is_bad = ~field.reshape(len(field), -1).isfinite().all(1).cpu().numpy() & is_step
            if is_bad.any():
                lane = int(is_bad.argmax())
                raise EnvironmentFault(
                    f"{name} of environment {lane} must be finite numbers, got "
                    f"{field[lane].tolist()}; the step is not recorded"
                )

    def truncate(self, lanes: Bool[np.ndarray, " lane"]) -> None:
        """End the episodes in progress of some lanes, as the end of a time limit would.

        Raises:
            ValueError: for some but not all lanes of a replay that takes them together.
        """
        if self.takes_episodes:
            for lane in np.flatnonzero(lanes).tolist():
                self._write(lane)
        elif lanes.all():
            self.replay.close_open_episodes()
        else:
            raise ValueError("to reset single environments, record into a replay with num_envs=1")

    def _write(self, lane: int) -> None:
        steps = self._pending[lane]
        for number, step in enumerate(steps, start=1):
            is_last = torch.full_like(step.truncated, number == len(steps))
            self.replay.add(*step._replace(truncated=is_last))
        steps.clear()


def new_replay(
    observation_space: spaces.Space[Any], action_space: spaces.Box, num_envs: int
) -> ReplayBuffer:
    """Return a replay buffer on the CPU for a million steps of these spaces.

    Raises:
        ValueError: if the observation is not one array.
    """
    if not isinstance(observation_space, spaces.Box):
        raise ValueError(
            f"observations must be arrays, got {observation_space}: wrap the environment in "
            "gymnasium.wrappers.vector.FlattenObservation first"
        )
    sizes = (int(np.prod(space.shape)) for space in (observation_space, action_space))
    return ReplayBuffer(DEFAULT_CAPACITY, *sizes, num_envs=num_envs)


def flat(values: Any, device: torch.device) -> Tensor:
    """Return a float32 copy with one row per environment."""
    tensor = torch.as_tensor(values)
    return tensor.reshape(len(tensor), -1).to(device, torch.float32, copy=True)


def unit_actions(actions: Any, space: spaces.Box, device: torch.device) -> Tensor:
    """Return actions of a bounded space in [-1, 1], one flat row per environment."""
    low, high = (torch.as_tensor(bound).ravel().to(device) for bound in (space.low, space.high))
    return ((flat(actions, device) - low) / (high - low) * 2.0 - 1.0).clamp(-1.0, 1.0)


class RecordSegments(VectorWrapper[Any, Any, Any, Any, Any]):
    """Records every step that passes through a Gymnasium vector environment.

    The loop around it stays as it is. The environment may be one of ours or any other with arrays
    as observations and bounded continuous actions, under each of the three autoreset modes: the
    end of an episode is stored with its true last observation, and the call that only resets
    (NEXT_STEP) belongs to no episode. Actions are stored in [-1, 1], rewards as true rewards too.
    An episode in progress when the environment is reset or closed counts as truncated.

    `pbrl.envs.sb3.RecordSegments` does the same for a vector environment of stable-baselines3.

    Args:
        env: vector environment, with its autoreset mode in its metadata.
        replay: where the steps go. By default a new one for a million steps; with SAME_STEP it has
            as many environments as `env`, otherwise one, and takes whole episodes.

    Attributes:
        replay: the replay buffer.

    Raises:
        ValueError: if spaces, replay and autoreset mode do not fit.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], replay: ReplayBuffer | None = None) -> None:
        super().__init__(env)
        self._mode = autoreset_mode(env)
        self._bounds = check_action_space(env.single_action_space, str(env))
        drifts = self._mode is not AutoresetMode.SAME_STEP
        self.replay = (
            replay
            if replay is not None
            else new_replay(
                env.single_observation_space, self._bounds, 1 if drifts else env.num_envs
            )
        )
        self._writer = EpisodeWriter(self.replay, env.num_envs)
        if drifts and self.replay.num_envs > 1:
            raise ValueError(
                f"with {self._mode} the environments do not step together: record into a replay "
                f"with num_envs=1, this one has {self.replay.num_envs}"
            )
        self._observations = torch.empty(0)
        self._has_ended = np.zeros(env.num_envs, np.bool_)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """As `reset` of the environment; with `options["reset_mask"]` only some are reset."""
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, np.bool_)))
        self._writer.truncate(mask)
        observations, infos = self.env.reset(seed=seed, options=options)
        self._observations = flat(observations, self.replay.device)
        self._has_ended[mask] = False
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """As `step` of the environment."""
        device = self.replay.device
        recorded_actions = unit_actions(actions, self._bounds, device)
        result = self.env.step(actions)
        following, rewards, terminated, truncated, infos = result
        rewards = torch.as_tensor(rewards).to(device, torch.float32)
        terminated, truncated = (
            torch.as_tensor(flag).to(device) for flag in (terminated, truncated)
        )
        step = Step(
            self._observations,
            recorded_actions,
            rewards,
            rewards,
            flat(final_observations(following, infos), device),
            terminated,
            truncated,
        )
        self._writer.add(step, ~self._has_ended)
        self._observations = flat(following, device)
        self._note_ends((terminated | truncated).cpu().numpy())
        return result

    def _note_ends(self, ends: np.ndarray) -> None:
        """Remember whose next call belongs to no episode."""
        if self._mode is AutoresetMode.NEXT_STEP:
            self._has_ended = ends & ~self._has_ended
        elif self._mode is AutoresetMode.DISABLED:
            self._has_ended |= ends

    def segments(self, number: int, length: int, generator: torch.Generator) -> Segments:
        """Return segments of complete episodes, drawn uniformly over all windows.

        Args:
            number: how many.
            length: steps of each.
            generator: source of randomness, on the replay's device.

        Raises:
            ValueError: if no complete episode has `length` steps.
        """
        return self.replay.gather(self.replay.sample_segments(number, length, generator))

    def close(self, **kwargs: Any) -> None:
        """Close the environment; the replay stays."""
        self._writer.truncate(np.ones(self.num_envs, np.bool_))
        super().close(**kwargs)
