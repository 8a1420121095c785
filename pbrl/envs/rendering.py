"""Frames from MuJoCo models, without a display, only when somebody asks for them."""

import atexit
import copy
import importlib
import weakref
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pbrl.envs.opengl import gl_module, mujoco

Camera = int | str
MAX_GEOMS = 2000
UPSIDE_DOWN = -0.1  # height of the camera's up vector; looking straight down it is about 0
KEEPS_DIRECTION = (mujoco.mjtCamLight.mjCAMLIGHT_TRACK, mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM)


@dataclass(frozen=True)
class Scene:
    """What to draw.

    Attributes:
        model: the MuJoCo model.
        data: its present state.
        camera: number of a camera of the model, or attributes of a free camera.
        key: scenes with equal keys share textures and meshes.
    """

    model: mujoco.MjModel
    data: mujoco.MjData
    camera: int | dict[str, Any] = field(default_factory=dict)
    key: Hashable = None


def find_camera(model: mujoco.MjModel, camera: Camera) -> int:
    """Return the number of a camera given by number or name.

    Raises:
        ValueError: if the model has no such camera.
    """
    names = [model.camera(number).name for number in range(model.ncam)]
    if isinstance(camera, str) and camera in names:
        return names.index(camera)
    if isinstance(camera, int) and 0 <= camera < model.ncam:
        return camera
    raise ValueError(f"no camera {camera!r}; there are {dict(enumerate(names))}")


class Renderer:
    """Draws scenes into frames of one size.

    Shadows, reflections and multisampling are off: without a GPU that is about ten times faster.
    OpenGL is first touched here, so environments that nobody renders never need it.

    Args:
        height, width: size of the frames in pixels.

    Raises:
        RenderingUnavailable: if no OpenGL library works here.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self._context = importlib.import_module(gl_module()).GLContext(width, height)
        self._canvases: dict[Hashable, tuple[mujoco.MjrContext, mujoco.MjvScene]] = {}
        self.close = weakref.finalize(self, _release, self._context, self._canvases)
        self.close.atexit = False  # at exit before the display goes, hence registered last
        atexit.register(self.close)

    def draw(self, scene: Scene) -> UInt8[np.ndarray, "height width 3"]:
        """Return a frame of a scene, top row first."""
        self._context.make_current()
        if scene.key not in self._canvases:
            self._canvases[scene.key] = self._make_canvas(scene.model)
        context, canvas = self._canvases[scene.key]
        for number in range(scene.model.nhfield):  # some tasks draw new terrain at every reset
            mujoco.mjr_uploadHField(scene.model, context, number)
        mujoco.mjv_updateScene(
            scene.model,
            scene.data,
            mujoco.MjvOption(),
            None,
            _camera(scene),
            mujoco.mjtCatBit.mjCAT_ALL,
            canvas,
        )
        frame = np.empty((self.height, self.width, 3), np.uint8)
        viewport = mujoco.MjrRect(0, 0, self.width, self.height)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
        mujoco.mjr_render(viewport, canvas, context)
        mujoco.mjr_readPixels(frame, None, viewport, context)
        upright = frame[::-1]  # OpenGL counts rows from below
        return upright[::-1, ::-1] if _hangs_upside_down(scene) else upright

    def _make_canvas(self, model: mujoco.MjModel) -> tuple[mujoco.MjrContext, mujoco.MjvScene]:
        plain = copy.copy(model)  # the environment's own model stays as it is
        plain.vis.quality.shadowsize = plain.vis.quality.offsamples = 0
        plain.vis.global_.offwidth, plain.vis.global_.offheight = self.width, self.height
        context = mujoco.MjrContext(plain, mujoco.mjtFontScale.mjFONTSCALE_100)
        canvas = mujoco.MjvScene(model, MAX_GEOMS)
        canvas.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        canvas.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        return context, canvas


def _release(context: Any, canvases: dict[Hashable, tuple[mujoco.MjrContext, Any]]) -> None:
    context.make_current()
    for canvas, _ in canvases.values():
        canvas.free()
    context.free()


def _hangs_upside_down(scene: Scene) -> bool:
    """Say whether a camera that never turns has its up pointing down, as most of Meta-World's."""
    if not isinstance(scene.camera, int):
        return False
    turns = scene.model.cam_mode[scene.camera] not in KEEPS_DIRECTION
    if turns and scene.model.cam_bodyid[scene.camera] != 0:
        return False
    up = scene.data.cam_xmat[scene.camera].reshape(3, 3)[:, 1]
    return bool(up[2] < UPSIDE_DOWN)


def _camera(scene: Scene) -> mujoco.MjvCamera:
    camera = mujoco.MjvCamera()
    if isinstance(scene.camera, int):
        camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, scene.camera
        return camera
    mujoco.mjv_defaultFreeCamera(scene.model, camera)
    for name, value in scene.camera.items():
        if isinstance(value, np.ndarray):
            getattr(camera, name)[:] = value
        else:
            setattr(camera, name, value)
    if scene.camera.get("trackbodyid", -1) >= 0:
        camera.type = mujoco.mjtCamera.mjCAMERA_TRACKING
    return camera
