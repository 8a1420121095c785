"""What every part of batched physics passes on: states, worlds, and the two protocols."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pbrl.envs.opengl import mujoco


@dataclass(frozen=True, kw_only=True)
class PhysicsState:
    """Where the simulation of every world stands; never written to in place.

    Attributes:
        qpos: generalised positions.
        qvel: generalised velocities.
        activations: of actuators that have a state of their own.
        warm_start: where the constraint solver begins; zeros where a back end has no use for it.
        sensors: every sensor of the model, in its order. Those of positions and velocities belong
            to this state; those of forces and accelerations to the physics step before it, as
            in dm_control.
    """

    qpos: Float[Tensor, "env qpos"]
    qvel: Float[Tensor, "env dof"]
    activations: Float[Tensor, "env activation"]
    warm_start: Float[Tensor, "env dof"]
    sensors: Float[Tensor, "env sensor"]

    def where(self, is_other: Bool[Tensor, " env"], other: "PhysicsState") -> "PhysicsState":
        """Return this state with the worlds marked true taken from another."""
        return PhysicsState(
            **{
                field.name: choose(is_other, getattr(other, field.name), getattr(self, field.name))
                for field in fields(self)
            }
        )


def choose(
    is_first: Bool[Tensor, " env"], first: Float[Tensor, "env n"], second: Float[Tensor, "env n"]
) -> Float[Tensor, "env n"]:
    """Return rows of `first` where marked true, elsewhere of `second`."""
    return torch.where(is_first[:, None], first, second)


@dataclass(frozen=True, kw_only=True)
class World:
    """All that observations and rewards are made of.

    Attributes:
        state: of the physics.
        controls: actuator controls of the step that led here, in the actuators' own units.
        goals: what a task draws at the start of an episode and the physics does not know.
        sensor_places: where each sensor lies in `state.sensors`.
    """

    state: PhysicsState
    controls: Float[Tensor, "env act"]
    goals: Float[Tensor, "env goal"]
    sensor_places: Mapping[str, slice]

    def sensor(self, name: str) -> Float[Tensor, "env n"]:
        """Return the readings of one sensor."""
        return self.state.sensors[:, self.sensor_places[name]]


@runtime_checkable
class Physics(Protocol):
    """Steps all worlds at once.

    Attributes:
        name: the back end's, for the environment record.
        packages: that take part.
        model: the worlds' common model.
        device: where states live.
        dtype: of states.
    """

    name: str
    packages: tuple[str, ...]
    model: mujoco.MjModel
    device: torch.device
    dtype: torch.dtype

    def step(
        self, state: PhysicsState, controls: Float[Tensor, "env act"], num_steps: int
    ) -> PhysicsState:
        """Return the state after a number of physics steps under constant controls.

        With no steps, positions and velocities stay and the sensors that belong to them are
        brought up to date.
        """
        ...

    def close(self) -> None:
        """Release threads and memory."""
        ...


@dataclass(frozen=True, kw_only=True)
class Start:
    """The first states of episodes, one for every world, and what they are to reach."""

    state: PhysicsState
    goals: Float[Tensor, "env goal"]


@runtime_checkable
class Task(Protocol):
    """A task: its model, and pure functions of what the worlds look like."""

    @property
    def num_substeps(self) -> int:
        """Physics steps per action."""
        ...

    @property
    def goal_dim(self) -> int:
        """Numbers of a goal."""
        ...

    def build_model(self) -> mujoco.MjModel:
        """Return the model with the sensors that the task reads."""
        ...

    def start(self, physics: Physics, num_envs: int, generator: torch.Generator) -> Start:
        """Draw the beginning of an episode for every world."""
        ...

    def observe(self, world: World) -> Float[Tensor, "env obs"]:
        """Return the flat observations, in the task's own order."""
        ...

    def reward(self, world: World) -> Float[Tensor, " env"]:
        """Return the rewards of the step that led here."""
        ...

    def terminated(self, world: World) -> Bool[Tensor, " env"] | None:
        """Return which worlds are in a terminal state, or None if the task has none."""
        ...


def still_world(model: mujoco.MjModel, goal_dim: int) -> World:
    """Return one world in which everything is zero, to see the shapes of what is made of it."""

    def zeros(size: int) -> Tensor:
        return torch.zeros(1, size)

    state = PhysicsState(
        qpos=zeros(model.nq),
        qvel=zeros(model.nv),
        activations=zeros(model.na),
        warm_start=zeros(model.nv),
        sensors=zeros(model.nsensordata),
    )
    return World(
        state=state,
        controls=zeros(model.nu),
        goals=zeros(goal_dim),
        sensor_places=sensor_places(model),
    )


def sensor_places(model: mujoco.MjModel) -> dict[str, slice]:
    """Return where the readings of each sensor lie."""
    places = {}
    for number in range(model.nsensor):
        begin = int(model.sensor_adr[number])
        places[model.sensor(number).name] = slice(begin, begin + int(model.sensor_dim[number]))
    return places


def reads_forces(model: mujoco.MjModel) -> Bool[Tensor, " sensor"]:
    """Say of every sensor reading whether it belongs to the forces of a physics step."""
    marks = torch.zeros(model.nsensordata, dtype=torch.bool)
    for number, place in enumerate(sensor_places(model).values()):
        marks[place] = bool(model.sensor_needstage[number] == mujoco.mjtStage.mjSTAGE_ACC)
    return marks
