"""The planar walker of the control suite."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.envs.mjx.models import FrameSensor, load_model
from pbrl.envs.mjx.starts import at_rest, random_joints
from pbrl.envs.mjx.tolerance import linear, tolerance
from pbrl.envs.mjx.world import Physics, Start, World
from pbrl.envs.opengl import mujoco

STAND_HEIGHT = 1.2  # metres
LEG = ("thigh", "leg", "foot")
BODIES = ("torso", *(f"{side}_{part}" for side in ("right", "left") for part in LEG))
UPS = tuple(FrameSensor("framezaxis", body) for body in BODIES)
PLACE = FrameSensor("framepos", "torso")


@dataclass(frozen=True, kw_only=True)
class Walker:
    """Stand, walk or run: `dm_control.suite.walker`.

    Attributes:
        move_speed: wanted horizontal speed in metres per second; 0 to stand.
        num_substeps: physics steps per action.
        goal_dim: numbers of a goal.
    """

    move_speed: float
    num_substeps: int = 10
    goal_dim: int = 0

    def build_model(self) -> mujoco.MjModel:
        """Return the model, which also says how every body is turned."""
        return load_model("walker", [*UPS, PLACE])

    def start(self, physics: Physics, num_envs: int, generator: torch.Generator) -> Start:
        """Draw every joint and the direction of the torso."""
        return at_rest(physics, random_joints(physics, num_envs, generator, free_hinges=True))

    def observe(self, world: World) -> Float[Tensor, "env obs"]:
        """Return cosine and sine of every body's angle, the torso's height, velocities."""
        ups = torch.stack([world.sensor(up.name) for up in UPS], dim=1)  # [env, body, 3]
        height = world.sensor(PLACE.name)[:, 2:]
        return torch.cat([ups[:, :, [2, 0]].flatten(1), height, world.state.qvel], dim=1)

    def reward(self, world: World) -> Float[Tensor, " env"]:
        """Return how well it stands, times how fast it goes if it is to go, in [0, 1]."""
        height = world.sensor(PLACE.name)[:, 2]
        standing = tolerance(height, (STAND_HEIGHT, float("inf")), margin=STAND_HEIGHT / 2)
        upright = (1 + world.sensor(UPS[0].name)[:, 2]) / 2
        posture = (3 * standing + upright) / 4
        if self.move_speed == 0.0:
            return posture
        moving = tolerance(
            world.sensor("torso_subtreelinvel")[:, 0],
            (self.move_speed, float("inf")),
            margin=self.move_speed / 2,
            falloff=linear,
            value_at_margin=0.5,
        )
        return posture * (5 * moving + 1) / 6

    def terminated(self, world: World) -> None:
        """Return None: no state is terminal."""
        del world
