import pytest

from pbrl.training.suite_report import replace_between_markers, write_report
from pbrl.training.suites import Method, Suite, Task
from tests.training.records import make_result

SUITE = Suite(
    name="online-cpu",
    title="Online",
    description="What two cores learn.",
    seeds=(0, 1),
    tasks=(Task(env="dmc/walker-walk"),),
    methods=(Method(agent="sac"), Method(agent="qpa")),
)


def test_a_page_gets_the_table_and_the_figures(tmp_path):
    page = tmp_path / "docs" / "benchmarks.md"
    page.parent.mkdir()
    written = write_report(SUITE, [make_result(), make_result(agent="sac")], page)
    assert [path.relative_to(page.parent).as_posix() for path in written] == [
        "benchmarks.md",
        "figures/online-cpu-steps.svg",
        "figures/online-cpu-steps.png",
        "figures/online-cpu-labels.svg",
        "figures/online-cpu-labels.png",
    ]
    assert all(path.stat().st_size > 0 for path in written)
    text = page.read_text()
    assert "## Online\n\nWhat two cores learn." in text
    assert "`pbrl benchmark online-cpu`, 2 of 4 runs recorded" in text
    assert "on x (2 cores)" in text
    assert "| dmc/walker-walk | qpa " in text
    assert "](figures/online-cpu-labels.svg)" in text


def test_the_same_records_give_the_same_page_and_the_rest_of_it_stays(tmp_path):
    page = tmp_path / "benchmarks.md"
    page.write_text("# Mine\n\nBefore.\n")
    write_report(SUITE, [make_result()], page)
    first = page.read_text()
    page.write_text(first + "\nAfter.\n")
    write_report(SUITE, [make_result()], page)
    assert page.read_text() == first + "\nAfter.\n"
    assert first.startswith("# Mine\n\nBefore.\n")


def test_without_labels_there_is_no_figure_against_labels(tmp_path):
    written = write_report(SUITE, [make_result(agent="sac")], tmp_path / "benchmarks.md")
    assert len(written) == 3


def test_nothing_recorded_or_a_broken_page_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing of the suite online-cpu"):
        write_report(SUITE, [], tmp_path / "benchmarks.md")
    with pytest.raises(ValueError, match="only one of the markers"):
        replace_between_markers("<!-- suite a -->", "a", "body")
