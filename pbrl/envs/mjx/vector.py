"""Thousands of worlds as one vector environment whose data stay on one device."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor

from pbrl.envs.mjx.faults import FaultWatch, check_numbers
from pbrl.envs.mjx.frames import WorldRenderer
from pbrl.envs.mjx.world import Physics, Start, Task, World, choose, sensor_places, still_world
from pbrl.envs.record import EnvRecord
from pbrl.envs.states import State
from pbrl.envs.vector import unit_box

TensorStep = tuple[
    Float32[Tensor, "env obs"],
    Float32[Tensor, " env"],
    Bool[Tensor, " env"],
    Bool[Tensor, " env"],
    dict[str, Any],
]


class BatchedVectorEnv(VectorEnv[Any, Any, Any]):
    """One task in many worlds, which step, end and begin again together on the device.

    Actions, observations, rewards and flags are tensors there, and none passes through numpy.
    Actions are in [-1, 1] (clipped, then scaled to the actuators' bounds); observations and
    rewards are float32. Autoreset is SAME_STEP as in `SerialVectorEnv`, except that
    `infos["final_obs"]` is a tensor `[env, obs]`, of which the rows marked in
    `infos["_final_obs"]` count; `pbrl.envs.final_observations` reads both kinds.

    While the task has no terminal state, the program knows beforehand in which step an episode
    can end, and never waits for the device to say so. With terminal states every step prepares a
    fresh start for all worlds, of which those that ended take theirs.

    Args:
        task: model, observation, reward and beginnings.
        physics: the back end, made for the task's model.
        record: what is run.
        seed: of the one generator from which all worlds draw; used by the first `reset`.
        device: where data are wanted; where it is not the physics' own, they are moved.
        renderer: draws the worlds.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": ["rgb_array"]}
    render_mode = "rgb_array"

    def __init__(
        self,
        task: Task,
        physics: Physics,
        *,
        record: EnvRecord,
        seed: int | Sequence[int],
        device: torch.device,
        renderer: WorldRenderer,
    ) -> None:
        assert record.max_episode_steps is not None
        self.task = task
        self.physics = physics
        self.record = record
        self.device = device
        self.num_envs = record.num_envs
        self._limit = record.max_episode_steps
        self._renderer = renderer
        self._places = sensor_places(physics.model)
        bounds = torch.as_tensor(physics.model.actuator_ctrlrange).to(physics.device, physics.dtype)
        self._centre, self._half_range = bounds.mean(1), (bounds[:, 1] - bounds[:, 0]) / 2
        self._generator = torch.Generator(physics.device)
        self._seed: int | Sequence[int] | None = seed
        self._faults = FaultWatch(record.id, self.num_envs, physics)
        self._set_spaces()

    def _set_spaces(self) -> None:
        world = still_world(self.physics.model, self.task.goal_dim)
        size = self.task.observe(world).shape[1]
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.single_action_space = unit_box((len(self._centre),))
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Float32[Tensor, "env obs"], dict[str, Any]]:
        """Start an episode in every world.

        Args:
            seed: a non-negative number, or several that together make one; None goes on with the
                running generator.
            options: not used.

        Returns:
            Observations and an empty dict.
        """
        del options
        seed = self._seed if seed is None else seed
        if seed is not None:
            number = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
            self._generator.manual_seed(int(number >> 1))
            self._seed = None
        start = self._draw_start()
        self._state, self._goals = start.state, start.goals
        self._controls = self._centre.expand(self.num_envs, -1)
        self._elapsed = torch.zeros(self.num_envs, dtype=torch.int64, device=self.physics.device)
        self._steps_to_end = self._limit
        return self._observations(self._world()).to(self.device), {}

    def _draw_start(self) -> Start:
        return self.task.start(self.physics, self.num_envs, self._generator)

    def _world(self) -> World:
        return World(
            state=self._state,
            controls=self._controls,
            goals=self._goals,
            sensor_places=self._places,
        )

    def _observations(self, world: World) -> Float32[Tensor, "env obs"]:
        return self.task.observe(world).to(torch.float32)

    def step(self, actions: Any) -> TensorStep:
        """Take one step in every world.

        Args:
            actions: `[env, act]`, in [-1, 1]; a tensor, or an array.

        Raises:
            ValueError: if the actions have another shape, or, on the CPU, are not numbers.
            EnvironmentFault: if a simulation diverged, see `FaultWatch`.
        """
        self._controls = self._native_controls(actions)
        self._state = self.physics.step(self._state, self._controls, self.task.num_substeps)
        self._elapsed = self._elapsed + 1
        self._steps_to_end -= 1
        world = self._world()
        observations = self._observations(world)
        rewards = self.task.reward(world).to(torch.float32)
        self._faults.add(self._state, observations, rewards)
        ends = self.task.terminated(world)
        terminated = torch.zeros_like(self._elapsed, dtype=torch.bool) if ends is None else ends
        truncated = (self._elapsed >= self._limit) & ~terminated
        infos: dict[str, Any] = {}
        following = observations
        if ends is not None or self._steps_to_end == 0:
            is_final = terminated | truncated
            following = self._begin_where(is_final, observations)
            infos = {"final_obs": observations.to(self.device), "final_info": {}}
            infos["_final_obs"] = infos["_final_info"] = is_final.to(self.device)
        outcome = (following, rewards, terminated, truncated)
        observations, rewards, terminated, truncated = (part.to(self.device) for part in outcome)
        return observations, rewards, terminated, truncated, infos

    def _native_controls(self, actions: Any) -> Float[Tensor, "env act"]:
        unit = torch.as_tensor(actions).detach().to(self.physics.device, self.physics.dtype)
        shape = (self.num_envs, len(self._centre))
        if unit.shape != shape:
            raise ValueError(f"actions must have shape {shape}, got {tuple(unit.shape)}")
        if unit.device.type == "cpu":
            check_numbers(unit)
        return unit.clamp(-1.0, 1.0) * self._half_range + self._centre

    def _begin_where(
        self, is_final: Bool[Tensor, " env"], observations: Float32[Tensor, "env obs"]
    ) -> Float32[Tensor, "env obs"]:
        """Begin new episodes in the marked worlds; return what is seen then, everywhere."""
        if self._steps_to_end == 0:
            self._faults.report()
        start = self._draw_start()
        self._state = self._state.where(is_final, start.state)
        self._goals = choose(is_final, start.goals, self._goals)
        self._elapsed = self._elapsed.masked_fill(is_final, 0)
        if self._steps_to_end == 0:
            self._find_next_end()
        return choose(is_final, self._observations(self._world()), observations)

    def _find_next_end(self) -> None:
        """Ask the device when the next episode runs out of time."""
        self._steps_to_end = self._limit - int(self._elapsed.max())

    def render(self) -> UInt8[np.ndarray, "env height width 3"]:  # type: ignore[override]
        """Return a frame of every world in its present state.

        Raises:
            RenderingUnavailable: if no OpenGL library is there, naming the system package.
        """
        return self._renderer.draw(self._state.qpos, self._goals)

    def get_state(self, index: int) -> State:
        """Return the state of one world, as arrays of fixed shapes; not the random generator."""
        state = {
            field.name: getattr(self._state, field.name)[index].cpu().numpy().copy()
            for field in fields(self._state)
        }
        return state | {
            "goals": self._goals[index].cpu().numpy().copy(),
            "elapsed_steps": self._elapsed[index].cpu().numpy().copy(),
        }

    def set_state(self, index: int, state: State) -> None:
        """Bring one world into a state of `get_state` of an equal environment."""

        def changed(values: Tensor, name: str) -> Tensor:
            values = values.clone()
            values[index] = torch.as_tensor(state[name]).to(values)
            return values

        self._state = replace(
            self._state,
            **{
                field.name: changed(getattr(self._state, field.name), field.name)
                for field in fields(self._state)
            },
        )
        self._goals = changed(self._goals, "goals")
        self._elapsed = changed(self._elapsed, "elapsed_steps")
        self._find_next_end()

    def close_extras(self, **kwargs: Any) -> None:
        """Release threads, memory and the drawing context."""
        del kwargs
        self._renderer.close()
        self.physics.close()
