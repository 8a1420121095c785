"""Frames of batched worlds, drawn one after the other by MuJoCo."""

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from pbrl.envs.opengl import mujoco
from pbrl.envs.rendering import Camera, Renderer, Scene, find_camera

TARGET = "target"  # the one thing that tasks move without the physics knowing


class WorldRenderer:
    """Draws worlds from their positions; nothing is made before the first frame.

    Args:
        model: of every world.
        frame_size: height and width in pixels.
        camera: name or number; by default camera 0, as in the suite.
    """

    def __init__(
        self, model: mujoco.MjModel, frame_size: tuple[int, int], camera: Camera | None
    ) -> None:
        self._model = model
        self._frame_size = frame_size
        self._camera = find_camera(model, 0 if camera is None else camera)
        self._renderer: Renderer | None = None
        self._data: mujoco.MjData | None = None

    def draw(
        self, qpos: Float[Tensor, "env qpos"], goals: Float[Tensor, "env goal"]
    ) -> UInt8[np.ndarray, "env height width 3"]:
        """Return a frame of every world.

        Raises:
            RenderingUnavailable: if no OpenGL library is there, naming the system package.
        """
        self._renderer = self._renderer or Renderer(*self._frame_size)
        self._data = self._data or mujoco.MjData(self._model)
        frames = []
        for positions, goal in zip(qpos.cpu().numpy(), goals.cpu().numpy(), strict=True):
            self._data.qpos[:] = positions
            if goal.size:
                self._model.geom(TARGET).pos[: goal.size] = goal
            mujoco.mj_forward(self._model, self._data)
            frames.append(
                self._renderer.draw(Scene(self._model, self._data, self._camera, key="worlds"))
            )
        return np.stack(frames)

    def close(self) -> None:
        """Release the drawing context."""
        if self._renderer is not None:
            self._renderer.close()
