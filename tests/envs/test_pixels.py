import numpy as np
import pytest

from pbrl import envs
from pbrl.envs import opengl, pixels
from pbrl.envs.pixels import PixelConfig, make_renderer

SMALL = PixelConfig(size=(40, 56), num_frames=3, action_repeat=2)
FRAME = 3 * 40 * 56


@pytest.fixture
def env():
    env = envs.make("dmc/cartpole-swingup", 2, seed=0, pixels=SMALL, max_episode_steps=7)
    yield env
    env.close()


def actions(value=0.5):
    return np.full((2, 1), value, np.float32)


def test_observations_are_stacks_of_bytes(env):
    assert env.single_observation_space.dtype == np.uint8
    assert SMALL.image_shape == (9, 40, 56)
    first, _ = env.reset()
    assert first.shape == (2, 3 * FRAME)
    assert first.dtype == np.uint8
    assert first.std() > 0
    # The first frame stands for those before it.
    assert (first[:, :FRAME] == first[:, FRAME : 2 * FRAME]).all()
    second, *_ = env.step(actions(1.0))
    third, *_ = env.step(actions(1.0))
    assert (second[:, : 2 * FRAME] == first[:, FRAME:]).all()
    assert (third[:, : 2 * FRAME] == second[:, FRAME:]).all()
    assert (third[:, 2 * FRAME :] != first[:, 2 * FRAME :]).any()


def test_frames_are_what_the_renderer_shows_channel_by_channel(env):
    env.reset()
    seen, *_ = env.step(actions())
    frame = pixels.Renderer(40, 56).draw(env.lanes[0].scene())
    assert (seen[0, 2 * FRAME :].reshape(3, 40, 56) == frame.transpose(2, 0, 1)).all()


def test_rewards_are_summed_over_the_repeats_until_the_episode_ends(env):
    plain = envs.make("dmc/cartpole-swingup", 2, seed=0, max_episode_steps=7, backend="official")
    env.reset(seed=3)
    plain.reset(seed=3)
    assert env.record.max_episode_steps == 4
    for number in range(4):
        _, rewards, _, truncated, infos = env.step(actions())
        expected = np.zeros(2, np.float32)
        for _ in range(2 if number < 3 else 1):  # the seventh step is the last
            _, paid, _, ended, _ = plain.step(actions())
            expected += paid
        np.testing.assert_allclose(rewards, expected, rtol=1e-6)
        assert (truncated == (number == 3)).all()
    assert ended.all()
    assert infos["final_obs"][0].shape == (3 * FRAME,)
    plain.close()


def test_the_same_seed_shows_the_same(env):
    first, _ = env.reset(seed=5)
    again, _ = env.reset(seed=5)
    assert (first == again).all()


def test_a_state_brings_its_frames_back(env):
    env.reset()
    env.step(actions())
    state = env.get_state(0)
    before, *_ = env.step(actions(-1.0))
    env.set_state(0, state)
    after, *_ = env.step(actions(-1.0))
    assert (before[0] == after[0]).all()


def test_success_in_any_repeat_counts(env, monkeypatch):
    lane = env.lanes[0]
    lane.reset(0)
    successes = iter([1.0, 0.0, 0.0, 0.0])
    step = lane.lane.step
    monkeypatch.setattr(
        lane.lane, "step", lambda action: (*step(action)[:4], {"success": next(successes)})
    )
    assert [lane.step(np.zeros(1))[4]["success"] for _ in range(2)] == [1.0, 0.0]


def test_the_quadruped_is_seen_through_its_own_camera():
    assert PixelConfig().camera_options("dmc/quadruped-run") == {"camera": 2}
    assert PixelConfig().camera_options("dmc/walker-walk") == {}
    assert PixelConfig(camera="side").camera_options("dmc/quadruped-run") == {"camera": "side"}


def test_without_opengl_the_error_names_what_to_install(monkeypatch):
    def lacks():
        raise opengl.RenderingUnavailable(f"no OpenGL library works here: none. {opengl.ADVICE}")

    monkeypatch.setattr("pbrl.envs.rendering.gl_module", lacks)
    with pytest.raises(ImportError, match="dmc/walker-walk is wanted as images.*libosmesa6") as hit:
        make_renderer(SMALL, "dmc/walker-walk")
    assert "video" not in str(hit.value)
    assert hit.value.name is None  # the command line shows such an error as one message


def test_only_the_official_back_end_draws():
    with pytest.raises(ValueError, match="backend 'official' alone"):
        envs.make("dmc/walker-walk", pixels=SMALL, backend="envpool")


def test_what_cannot_be_drawn_is_refused():
    env = envs.make("gym/Pendulum-v1", pixels=SMALL)
    with pytest.raises(ValueError, match="only tasks of MuJoCo"):
        env.reset()


@pytest.mark.parametrize("field", ["num_frames", "action_repeat"])
def test_impossible_numbers(field):
    with pytest.raises(ValueError, match=f"{field} must be at least 1, got 0"):
        PixelConfig(**{field: 0})
