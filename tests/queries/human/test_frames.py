import numpy as np
import pytest

from pbrl.envs import RenderingUnavailable, make
from pbrl.queries.human.frames import CannotDraw, SegmentRenderer
from pbrl.queries.human.recorded import RecordedSegment

SIZE = (48, 64)


@pytest.fixture(scope="module")
def steps():
    """Observations, actions, states and frames of a few steps of walker-walk."""
    env = make("dmc/walker-walk", backend="official", frame_size=SIZE)
    observations, _ = env.reset(seed=0)
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(6):
        actions = rng.uniform(-1, 1, size=(1, 6)).astype(np.float32)
        try:
            frame = env.render()[0]
        except RenderingUnavailable as error:
            pytest.skip(str(error))
        rows.append((observations[0].copy(), actions[0], env.get_state(0), frame))
        observations, *_ = env.step(actions)
    env.close()
    return rows


def segment_of(steps, num_states):
    states = [state for _, _, state, _ in steps][:num_states]
    return RecordedSegment(
        observations=np.stack([row[0] for row in steps]),
        actions=np.stack([row[1] for row in steps]),
        states={name: np.stack([state[name] for state in states]) for name in states[0]},
    )


@pytest.mark.parametrize("num_states", [6, 1], ids=["all states", "first state and actions"])
def test_the_frames_are_those_of_the_run(steps, num_states):
    renderer = SegmentRenderer("dmc/walker-walk", SIZE)
    frames = list(renderer.frames(segment_of(steps, num_states)))
    renderer.close()
    assert len(frames) == 6
    for frame, (*_, expected) in zip(frames, steps, strict=True):
        difference = np.abs(frame.astype(int) - expected.astype(int))
        assert (difference > 8).mean() < 0.01


def test_observations_that_hold_the_state_are_enough(steps):  # noqa: ARG001  skips without OpenGL
    rng = np.random.default_rng(0)
    segment = RecordedSegment(
        observations=rng.normal(scale=0.1, size=(3, 11)) + np.eye(1, 11),
        actions=np.zeros((3, 3)),
    )
    renderer = SegmentRenderer("gym/Hopper-v5", SIZE)
    frames = list(renderer.frames(segment))
    renderer.close()
    assert [frame.shape for frame in frames] == [(*SIZE, 3)] * 3
    assert (frames[0] != frames[1]).any()


def test_without_states_there_is_nothing_to_show(make_segment):
    renderer = SegmentRenderer("dmc/walker-walk", SIZE)
    with pytest.raises(CannotDraw, match="observations of dmc/walker-walk do not hold them"):
        next(renderer.frames(make_segment()))
    renderer.close()


def test_unknown_environments_are_refused():
    with pytest.raises(ValueError, match="unknown environment"):
        SegmentRenderer("gym/Hoppla-v5", SIZE)
