"""Observations that are images, with frame stack and action repeat as in DrQ-v2."""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import UInt8

from pbrl.checks import check_fields
from pbrl.envs.opengl import WITHOUT_VIDEO, RenderingUnavailable
from pbrl.envs.rendering import Camera, Renderer, Scene
from pbrl.envs.states import State
from pbrl.envs.vector import Lane

COLOURS = 3
BRIGHTEST = 255
QUADRUPED_CAMERA = 2  # DrQ-v2 looks at everything else through camera 0


@dataclass(frozen=True, kw_only=True)
class PixelConfig:
    """What is seen and how often; the defaults are those of DrQ-v2 (Yarats et al. 2022).

    Frames are drawn without shadows, reflections and multisampling, unlike theirs: without a GPU
    that is several times faster.

    Attributes:
        size: height and width of a frame in pixels.
        num_frames: frames of which an observation is made, the newest last. At the beginning of an
            episode the first one stands for those before it.
        action_repeat: steps of the task for each action, whose rewards are summed.
        camera: name or number; None is the source's own, for the quadruped of DMC number 2.
    """

    size: tuple[int, int] = (84, 84)
    num_frames: int = 3
    action_repeat: int = 2
    camera: Camera | None = None

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("size", "positive", min(self.size) >= 1),
            ("num_frames", "at least 1", self.num_frames >= 1),
            ("action_repeat", "at least 1", self.action_repeat >= 1),
        )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an observation, in the order of its numbers."""
        return (COLOURS * self.num_frames, *self.size)

    def camera_options(self, env_id: str) -> dict[str, Camera]:
        """Return the option of `pbrl.envs.make` that names the camera."""
        if self.camera is not None:
            return {"camera": self.camera}
        return {"camera": QUADRUPED_CAMERA} if env_id.startswith("dmc/quadruped") else {}


def make_renderer(config: PixelConfig, env_id: str) -> Renderer:
    """Return what draws the frames of an environment.

    Raises:
        ImportError: if no OpenGL library works here, naming the system package.
    """
    try:
        return Renderer(*config.size)
    except RenderingUnavailable as error:
        reason = str(error).removesuffix(WITHOUT_VIDEO).rstrip()
        raise ImportError(
            f"{env_id} is wanted as images, which are drawn here: {reason}"
        ) from error


class PixelLane:
    """A sub-environment seen through a camera.

    The observation is flat: of each frame, the oldest first, its three colours row by row.

    Args:
        lane: of a MuJoCo task.
        config: what is seen.
        renderer: of the right size; lanes may share it.

    Raises:
        ValueError: if the task cannot be drawn that way.
    """

    def __init__(self, lane: Lane, config: PixelConfig, renderer: Renderer) -> None:
        self.lane = lane
        self.config = config
        self._renderer = renderer
        self._frames: deque[np.ndarray] = deque(maxlen=config.num_frames)
        size = int(np.prod(config.image_shape))
        self.observation_space: spaces.Box = spaces.Box(0, BRIGHTEST, (size,), np.uint8)
        self.action_space = lane.action_space
        self.reward_version = lane.reward_version
        self.goal_visible = lane.goal_visible
        limit = lane.max_episode_steps
        self.max_episode_steps = None if limit is None else -(-limit // config.action_repeat)

    def reset(self, seed: int | None) -> tuple[UInt8[np.ndarray, " obs"], dict[str, Any]]:
        """Start an episode."""
        _, info = self.lane.reset(seed)
        frame = self._draw()
        self._frames.extend(frame for _ in range(self.config.num_frames))
        return self._stack(), info

    def step(
        self, action: np.ndarray
    ) -> tuple[UInt8[np.ndarray, " obs"], float, bool, bool, dict[str, Any]]:
        """Take the action as often as it is repeated, or until the episode ends.

        A success in any of these steps is one.
        """
        total, success = 0.0, 0.0
        for _ in range(self.config.action_repeat):
            _, reward, is_terminated, is_truncated, info = self.lane.step(action)
            total += float(reward)
            success = max(success, float(info.get("success", 0.0)))
            if is_terminated or is_truncated:
                break
        if "success" in info:
            info = {**info, "success": success}
        self._frames.append(self._draw())
        return self._stack(), total, is_terminated, is_truncated, info

    def _draw(self) -> UInt8[np.ndarray, " frame"]:
        scene = self.lane.scene()
        if scene is None:
            raise ValueError(
                f"{self.lane} cannot be seen as images, only tasks of MuJoCo can, such as "
                "dmc/walker-walk: choose one of them, or an agent that sees states"
            )
        frame: np.ndarray = self._renderer.draw(scene).transpose(2, 0, 1).ravel()
        return frame

    def _stack(self) -> UInt8[np.ndarray, " obs"]:
        return np.concatenate(self._frames)

    def scene(self) -> Scene | None:
        """Return what to draw."""
        return self.lane.scene()

    def render(self) -> UInt8[np.ndarray, "height width 3"]:
        """Return a frame of the lane's own size."""
        return self.lane.render()

    def get_state(self) -> State:
        """Return the simulator's state and the frames."""
        return self.lane.get_state() | {"frames": np.stack(self._frames)}

    def set_state(self, state: State) -> None:
        """Go to a state of `get_state`."""
        self.lane.set_state({name: part for name, part in state.items() if name != "frames"})
        self._frames.extend(state["frames"])

    def close(self) -> None:
        """Release the simulation and what draws it."""
        self.lane.close()
        self._renderer.close()
