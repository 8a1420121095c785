import numpy as np
import pytest

from pbrl.training.plots import align, curve, learning_curves, save_figure
from tests.training.records import make_result


def rng():
    return np.random.default_rng(0)


def labels_of(figure):
    return [[line.get_label() for line in panel.get_lines()] for panel in figure.axes]


def test_one_panel_per_environment_one_line_per_method_and_two_references():
    results = [
        make_result(),
        make_result(seed=1),
        make_result(control="shuffled-labels"),
        make_result(agent="sac"),
        make_result(env="metaworld/door-open-v3", score_name="success", scores=(0, 0.5, 1)),
    ]
    figure = learning_curves(results, rng())
    assert [panel.get_title() for panel in figure.axes] == [
        "dmc/walker-walk", "metaworld/door-open-v3"
    ]  # fmt: skip
    assert labels_of(figure) == [
        ["random", "qpa", "qpa, shuffled-labels", "sac"],
        ["random", "qpa"],
    ]
    assert figure.axes[1].get_ylabel() == "success rate"
    # Only the method with two runs has a band.
    assert [len(panel.collections) for panel in figure.axes] == [1, 0]


def test_against_labels_the_oracle_is_a_line_across():
    figure = learning_curves([make_result(), make_result(agent="sac")], rng(), against="labels")
    assert labels_of(figure) == [["random", "true reward", "qpa"]]
    assert list(figure.axes[0].get_lines()[1].get_ydata()) == [25.0, 25.0]
    assert list(figure.axes[0].get_lines()[2].get_xdata()) == [0.0, 10.0, 20.0]


def test_against_labels_the_last_evaluation_of_each_count_stands():
    result = make_result(curve=((100, 1.0, 0), (200, 2.0, 10), (300, 3.0, 10)))
    places, scores = curve(result, "labels")
    assert (list(places), list(scores)) == ([0.0, 10.0], [1.0, 3.0])


def test_runs_are_interpolated_and_never_extended():
    first = (np.array([0.0, 10, 20]), np.array([0.0, 10, 20]))
    second = (np.array([5.0, 25]), np.array([1.0, 3]))
    grid, curves = align([first, second])
    assert list(grid) == [5.0, 10.0, 20.0]
    np.testing.assert_allclose(curves, [[5, 10, 20], [1, 1.5, 2.5]])


def test_runs_that_do_not_overlap_show_an_end():
    grid, curves = align([(np.array([1.0]), np.array([2.0])), (np.array([3.0]), np.array([4.0]))])
    assert list(grid) == [1.0]
    np.testing.assert_allclose(curves, [[2.0], [4.0]])


@pytest.mark.parametrize("ending", [".svg", ".png"])
def test_the_same_records_give_the_same_bytes(tmp_path, ending):
    for name in ("a", "b"):
        figure = learning_curves([make_result(), make_result(seed=1, scores=(1, 2, 3))], rng())
        save_figure(figure, tmp_path / "new" / f"{name}{ending}")
    first, second = ((tmp_path / "new" / f"{name}{ending}").read_bytes() for name in "ab")
    assert first == second
    assert len(first) > 1_000


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no run to draw against labels"):
        learning_curves([make_result(agent="sac")], rng(), against="labels")
    with pytest.raises(ValueError, match="mean, iqm"):
        learning_curves([make_result()], rng(), statistic="best")
    with pytest.raises(ValueError, match=r"\.svg, \.png, \.pdf"):
        save_figure(learning_curves([make_result()], rng()), tmp_path / "figure.bmp")


def test_methods_of_a_panel_have_colours_of_their_own_and_no_two_methods_one_look():
    first = [make_result(agent=f"a{number}") for number in range(7)]
    second = [make_result(env="dmc/cheetah-run", agent=agent) for agent in ("a0", "a6", "b", "c")]
    figure = learning_curves(first + second, rng())
    looks = {}
    for panel in figure.axes:
        lines = [line for line in panel.get_lines() if line.get_label() != "random"]
        assert len({line.get_color() for line in lines}) == len(lines)
        for line in lines:
            look = (line.get_color(), line.get_linestyle(), str(line._unscaled_dash_pattern))
            assert looks.setdefault(line.get_label(), look) == look
    assert len(set(looks.values())) == len(looks) == 9


def test_lines_of_very_different_length_run_along_a_logarithmic_axis():
    long = make_result(agent="p-iql", curve=((400, 1.0, 0), (4_000, 2.0, 0)))
    short = make_result(agent="dtr", curve=((100, 1.0, 0), (500, 2.0, 0)))
    like = make_result(agent="dtr", curve=((100, 1.0, 0), (2_000, 2.0, 0)))
    scales = [learning_curves([long, other], rng()).axes[0].get_xscale() for other in (short, like)]
    assert scales == ["log", "linear"]


def test_long_names_fit_below_the_panels():
    names = [f"hindsight-prior, weight {number}, standardised rewards" for number in range(9)]
    figure = learning_curves([make_result(agent=name) for name in names], rng())
    (legend,) = figure.legends
    figure.draw_without_rendering()
    place = legend.get_window_extent()
    assert 0 <= place.x0 < place.x1 <= figure.bbox.width
    assert figure.axes[0].get_window_extent().height > 0
