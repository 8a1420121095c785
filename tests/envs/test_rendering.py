import os
import subprocess
import sys

import gymnasium
import mujoco
import numpy as np
import pytest

from pbrl import envs
from pbrl.envs import rendering
from pbrl.envs.vector import resized

# Green ground, one red ball on the left and one blue on the right, seen from the front.
WORLD = """
<mujoco>
  <visual><headlight ambient="1 1 1" diffuse="0 0 0" specular="0 0 0"/></visual>
  <worldbody>
    <geom type="plane" size="50 50 1" rgba="0 1 0 1"/>
    <geom type="sphere" size=".5" pos="-1 0 1" rgba="1 0 0 1"/>
    <geom type="sphere" size=".5" pos="1 0 1" rgba="0 0 1 1"/>
    <camera name="upright" pos="0 -6 1" xyaxes="1 0 0 0 0 1"/>
    <camera name="hanging" pos="0 -6 1" xyaxes="-1 0 0 0 0 -1"/>
  </worldbody>
</mujoco>
"""
RED, GREEN, BLUE = 0, 1, 2


def make(env_id, num_envs=1, **options):
    return envs.make(env_id, num_envs, backend="official", frame_size=(60, 80), **options)


@pytest.fixture(scope="module")
def world():
    model = mujoco.MjModel.from_xml_string(WORLD)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


@pytest.mark.parametrize("camera", ["upright", "hanging"])
def test_ground_is_below_and_left_is_left(world, camera):
    renderer = rendering.Renderer(60, 80)
    frame = renderer.draw(rendering.Scene(*world, rendering.find_camera(world[0], camera)))
    renderer.close()
    assert frame.shape == (60, 80, 3)
    assert frame.dtype == np.uint8
    assert (frame[50:, :, GREEN] > 200).all()
    assert (frame[:10, :, GREEN] < 50).all()
    left, right = frame[:, :40].astype(int), frame[:, 40:].astype(int)
    assert (left[..., RED] - left[..., GREEN] > 200).any()
    assert not (left[..., BLUE] - left[..., GREEN] > 200).any()
    assert (right[..., BLUE] - right[..., GREEN] > 200).any()


def test_the_floor_of_a_task_is_darker_than_its_robot_and_below_the_sky():
    env = make("gym/HalfCheetah-v5")
    env.reset()
    (frame,) = env.render()
    floor, sky = frame[-10:].astype(int), frame[:10].astype(int)
    assert floor.std() > 3 * sky.std()  # a chequered floor under a smooth sky


def test_frames_show_the_present_state_and_every_environment_its_own():
    env = make("dmc/cartpole-swingup", 2)
    env.reset()
    before = env.render()
    assert before.shape == (2, 60, 80, 3)
    assert not np.array_equal(before[0], before[1])
    state = env.get_state(0)
    for _ in range(20):
        env.step(np.ones((2, 1)))
    after = env.render()
    assert not np.array_equal(after[0], before[0])
    env.set_state(1, state)
    np.testing.assert_array_equal(env.render()[1], before[0])


def test_two_environments_drawing_in_turn_do_not_disturb_each_other():
    first, second = make("dmc/walker-walk"), make("metaworld/reach-v3")
    first.reset()
    second.reset()
    alone = first.render(), second.render()
    for _ in range(2):
        np.testing.assert_array_equal(first.render(), alone[0])
        np.testing.assert_array_equal(second.render(), alone[1])
    first.close()
    np.testing.assert_array_equal(second.render(), alone[1])


def test_drawing_does_not_change_the_steps():
    drawn, plain = make("dmc/walker-walk"), make("dmc/walker-walk")
    drawn.reset()
    plain.reset()
    actions = np.random.default_rng(0).uniform(-1, 1, (10, 1, 6))
    for action in actions:
        drawn.render()
        for one, other in zip(drawn.step(action)[:4], plain.step(action)[:4], strict=True):
            np.testing.assert_array_equal(one, other)


def test_cameras_are_chosen_by_name_or_number():
    frames = []
    for camera in ("corner", "topview", 0):
        env = make("metaworld/reach-v3", camera=camera)
        env.reset()
        frames.append(env.render())
    assert not np.array_equal(frames[0], frames[1])
    np.testing.assert_array_equal(frames[1], frames[2])  # topview is camera 0
    with pytest.raises(ValueError, match=r"no camera 'side'; there are .*topview"):
        make("metaworld/reach-v3", camera="side")
    with pytest.raises(ValueError, match="has no cameras"):
        make("gym/Pendulum-v1", camera="side")


class Painted(gymnasium.Env):
    """Draws itself: the upper half white."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        return np.zeros(1), {}

    def render(self):
        if self.render_mode is None:
            return None
        frame = np.zeros((30, 20, 3), np.uint8)
        frame[:15] = 255
        return frame


def test_an_environment_that_draws_itself_is_brought_to_the_size_of_the_frames():
    env = envs.make(Painted, 2, frame_size=(60, 80))
    env.lanes[0].env.render_mode = env.lanes[1].env.render_mode = "rgb_array"
    frames = env.render()
    assert frames.shape == (2, 60, 80, 3)
    assert (frames[:, :30] == 255).all()
    assert (frames[:, 30:] == 0).all()
    assert resized(frames[0], 30, 20)[:15].min() == 255


def test_an_environment_without_frames_says_what_to_do():
    with pytest.raises(envs.RenderingUnavailable, match="render_mode='rgb_array'"):
        envs.make(Painted).render()


class Invisible(Painted):
    render = gymnasium.Env.render


class OldFashioned(Painted):
    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self):
        self.render_mode = None


class Modern(Painted):
    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode


def test_an_environment_without_a_method_render_says_what_to_write():
    with pytest.raises(envs.RenderingUnavailable, match=r"no method render: write one .* \[height"):
        envs.make(Invisible).render()


def test_a_registered_class_is_asked_for_frames_where_it_takes_the_mode():
    for kind in (OldFashioned, Modern):
        gymnasium.register(f"{kind.__name__}-v0", entry_point=kind, max_episode_steps=5)
    env = envs.make("gym/Modern-v0", frame_size=(60, 80))
    env.reset()
    assert env.render().shape == (1, 60, 80, 3)
    env = envs.make("gym/OldFashioned-v0")
    env.reset()
    with pytest.raises(envs.RenderingUnavailable, match="returns no frame"):
        env.render()


DRAWN_WITHOUT_A_DISPLAY = """
from pbrl import envs
env = envs.make("gym/Pendulum-v1", backend="official")
env.reset()
print(env.render().shape)
"""


def test_drawing_without_a_display_says_nothing(tmp_path):
    without = ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "SDL_VIDEODRIVER")
    environment = {name: value for name, value in os.environ.items() if name not in without}
    words = [sys.executable, "-c", DRAWN_WITHOUT_A_DISPLAY]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(1, 240, 320, 3)\n", "")
