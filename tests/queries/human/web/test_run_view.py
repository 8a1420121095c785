import pytest

from pbrl.queries.follower import RunStatus
from pbrl.queries.human.live_runs import LiveRun, save_run
from pbrl.queries.human.web.run_view import HEIGHT, WIDTH, run_view

CURVE = ((500, -200.0, 10), (1_000, -100.0, 20))


def live_run(study_id=1, **changes):
    status = {"step": 1_000, "steps": 2_000, "num_asked": 20, "num_labelled": 12, "curve": CURVE}
    return LiveRun(
        study_id=study_id,
        token="a1",
        name="qpa on <far>, seed 0",
        status=RunStatus(**{**status, "score_name": "return", **changes}),
        updated_at=1_000.0,
    )


def test_the_curve_fills_the_picture():
    view = run_view(live_run(), 1_000.0)
    assert [(point.x, point.y) for point in view.points] == [(WIDTH / 4, HEIGHT), (WIDTH / 2, 0)]
    assert (view.lowest, view.highest, view.share) == (-200.0, -100.0, 50)
    assert view.line == f"{WIDTH / 4:.1f},{HEIGHT:.1f} {WIDTH / 2:.1f},0.0"


def test_runs_without_an_evaluation_have_no_curve():
    assert run_view(live_run(curve=()), 1_000.0).points == ()


@pytest.mark.parametrize(
    ("changes", "now", "state"),
    [
        ({}, 1_000.0, "learning"),
        ({"phase": "waiting for 8 answers"}, 1_010.0, "waiting for 8 answers"),
        ({"phase": "waiting for 8 answers"}, 1_300.0, "waiting for 8 answers; not heard of"),
        ({"is_over": True}, 9_000.0, "has ended"),
    ],
)
def test_the_state_in_words(changes, now, state):
    view = run_view(live_run(**changes), now)
    assert view.state.startswith(state)
    assert view.is_waiting == ("waiting" in state)


def test_owners_see_the_run_on_their_page(site):
    browser = site.browser("owner")
    assert "data-run=" not in browser.get("/admin").text
    with site.database.writing() as connection:
        save_run(connection, live_run(site.study.id, phase="waiting for 8 answers"))
    for page in ("/admin", "/admin/panel"):
        text = browser.get(page).text
        assert "waiting for 8 answers" in text
        assert "qpa on &lt;far&gt;, seed 0" in text
        assert text.count("<circle") == 2
    (run,) = browser.get("/api/admin/runs").json()
    assert run["curve"] == [[500, -200.0, 10], [1_000, -100.0, 20]]
    assert run["phase"] == "waiting for 8 answers"


def test_annotators_see_no_runs(site):
    assert site.browser("ada").get("/api/admin/runs").status_code == 403
