import imageio.v3 as imageio
import numpy as np
import pytest

from pbrl.queries.human.state_plot import observation_limits, write_plot


@pytest.mark.parametrize("observation_dim", [1, 12, 40])
def test_a_drawing_of_twice_the_size(tmp_path, make_segment, observation_dim):
    segment = make_segment(0, observation_dim=observation_dim)
    write_plot(tmp_path / "plot.png", segment, observation_limits([segment]), (120, 160))
    drawing = imageio.imread(tmp_path / "plot.png")
    assert drawing.shape[:2] == (240, 320)
    assert len(np.unique(drawing.reshape(-1, drawing.shape[2]), axis=0)) > 3
    assert [file.name for file in tmp_path.iterdir()] == ["plot.png"]


def test_segments_of_a_study_share_their_limits(make_segment):
    segments = [make_segment(seed) for seed in range(4)]
    low, high = observation_limits(iter(segments))
    everything = np.concatenate([segment.observations for segment in segments])
    np.testing.assert_array_equal(low, everything.min(0))
    np.testing.assert_array_equal(high, everything.max(0))


def test_segments_of_one_step_and_constant_numbers(tmp_path, make_segment):
    segment = make_segment(0, num_steps=1)
    write_plot(tmp_path / "plot.png", segment, observation_limits([segment]), (120, 160))
    assert (tmp_path / "plot.png").exists()
