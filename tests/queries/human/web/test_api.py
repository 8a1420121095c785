import pytest

from pbrl.queries.follower import RunStatus
from pbrl.queries.human.live_runs import LiveRun, save_run


def test_what_an_annotator_is_told(site):
    study = site.browser("ada").get("/api/study").json()
    assert study["kind"] == "pair"
    assert study["task"] == "Hop <far>"
    assert study["person"] == "ada"
    assert study["progress"] == {"answered": 0, "left": 6}


def test_a_query_is_handed_out_answered_and_counted(site):
    browser = site.browser("ada")
    (task,) = site.next(browser)["tasks"]
    assert [segment["media"] for segment in task["segments"]] == ["film", "film"]
    assert set(task) == {"assignment", "segments"}  # nothing tells a gold question
    done = site.answer(browser, task["assignment"], {"label": 1}, seconds=2.5, next=2).json()
    assert done["recorded"] == "new"
    assert len(done["next"]["tasks"]) == 2
    assert done["next"]["progress"] == {"answered": 1, "left": 5}


def test_the_same_request_is_recorded_once(site):
    browser = site.browser("ada")
    (task,) = site.next(browser)["tasks"]
    for recorded in ("new", "before", "before"):
        response = site.answer(browser, task["assignment"], {"label": 0}, key="same")
        assert response.json()["recorded"] == recorded


def test_a_second_answer_is_a_conflict(site):
    browser = site.browser("ada")
    (task,) = site.next(browser)["tasks"]
    site.answer(browser, task["assignment"], {"label": 0})
    refused = site.answer(browser, task["assignment"], {"label": 1})
    assert refused.status_code == 409
    assert "answered already" in refused.json()["detail"]


def test_undo_gives_the_query_back(site):
    browser = site.browser("ada")
    (task,) = site.next(browser)["tasks"]
    site.answer(browser, task["assignment"], None)
    undone = browser.post("/api/undo", json={"key": "u", "next": 1}).json()
    assert undone["assignment"] == task["assignment"]
    assert undone["next"]["tasks"][0] == task
    assert browser.post("/api/undo", json={"key": "v", "next": 0}).json() == {
        "assignment": None,
        "next": None,
    }


@pytest.mark.parametrize(
    ("kind", "value", "wrong"),
    [
        ("pair", {"label": 0.5}, {"label": 0.3}),
        ("moment", {"label": 1, "moment": [1, 3]}, {"label": 1, "moment": [1, 99]}),
        ("rating", {"rating": 3}, {"rating": 4}),
        ("ranking", {"ranking": [3, 1, 0, 2]}, {"ranking": [0, 1, 2]}),
    ],
)
def test_every_kind_of_feedback(make_site, kind, value, wrong):
    site = make_site(kind=kind)
    browser = site.browser("ada")
    (task,) = site.next(browser)["tasks"]
    refused = site.answer(browser, task["assignment"], wrong)
    assert refused.status_code == 422
    assert refused.json()["detail"]
    assert site.answer(browser, task["assignment"], value).status_code == 200


def test_states_without_queries_say_why(make_site):
    site = make_site(num_queries=1)
    ada, ben, owner = (site.browser(name) for name in ("ada", "ben", "owner"))
    (task,) = site.next(ada)["tasks"]
    assert site.next(ben)["state"] == "waiting"
    site.answer(ada, task["assignment"], {"label": 0})
    assert site.next(ada)["state"] == "finished"
    assert owner.put("/api/admin/state", json={"state": "paused"}).status_code == 204
    assert site.next(ada)["state"] == "paused"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({}, "waiting"),
        ({"is_asking": False}, "finished"),
        ({"is_asking": False, "is_over": True}, "finished"),
    ],
)
def test_nothing_is_finished_while_a_run_may_ask_more(make_site, status, state):
    site = make_site(num_queries=1)
    ada = site.browser("ada")
    (task,) = site.next(ada)["tasks"]
    site.answer(ada, task["assignment"], {"label": 0})
    run = LiveRun(
        study_id=site.study.id,
        token="a1",
        name="run",
        status=RunStatus(step=5, steps=9, num_asked=1, num_labelled=1, **status),
        updated_at=1.0,
    )
    with site.database.writing() as connection:
        save_run(connection, run)
    assert site.next(ada)["state"] == state


def test_a_study_without_queries_waits_for_them(make_site):
    site = make_site(num_queries=0)
    assert site.next(site.browser("ada"))["state"] == "waiting"


def test_programs_need_a_token_only(site):
    program = site.program()
    (task,) = site.next(program)["tasks"]
    segments = program.get(f"/api/assignments/{task['assignment']}/segments").json()
    assert [len(segment["observations"]) for segment in segments] == [5, 5]
    assert len(segments[0]["actions"][0]) == 2
    assert program.get(task["segments"][0]["clip"]).status_code == 200
    assert site.answer(program, task["assignment"], {"label": 1}).status_code == 200


def test_the_numbers_of_anothers_query_are_not_shown(site):
    (task,) = site.next(site.program("ada"))["tasks"]
    refused = site.program("ben").get(f"/api/assignments/{task['assignment']}/segments")
    assert refused.status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/next", {"number": 0}),
        ("/api/next", {"number": 10**30}),
        ("/api/next", []),
        ("/api/answers", {}),
        ("/api/answers", {"assignment": 2**40, "value": None, "key": "k"}),
        ("/api/answers", {"assignment": 1, "value": None, "key": "k\u0000"}),
        ("/api/answers", {"assignment": 1, "value": {"label": "1"}, "key": "k"}),
        ("/api/answers", {"assignment": 1, "value": {"label": True}, "key": "k"}),
        ("/api/answers", {"assignment": 1, "value": {"ranking": [[]]}, "key": "k"}),
        ("/api/answers", {"assignment": 1, "value": None, "key": "k", "extra": 1}),
        ("/api/undo", {"key": "k" * 65}),
    ],
)
def test_malformed_requests_are_refused_with_a_reason(site, path, body):
    refused = site.program().post(path, json=body)
    assert refused.status_code == 422
    assert refused.json()["detail"]
    assert "Traceback" not in refused.text


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe",
        b'{"number": NaN}',
        b'{"number": 1e999}',
        b"[" * 5000,
        b'"\\ud800"',
        b'{"\\ud800": "\\ud800"}',
    ],
)
def test_what_is_no_json_is_refused(site, content):
    headers = {"Content-Type": "application/json"}
    refused = site.program().post("/api/next", content=content, headers=headers)
    assert refused.status_code in (400, 422)
    assert "detail" in refused.json()


def test_the_schema_describes_the_interface(site):
    schema = site.browser().get("/api/openapi.json").json()
    paths = schema["paths"]
    assert {"/api/next", "/api/answers", "/api/undo", "/api/study"} <= set(paths)
    assert not any(path.startswith(("/clips", "/label", "/admin")) for path in paths)
    assert "409" in paths["/api/answers"]["post"]["responses"]
    assert "PairAnswer" in schema["components"]["schemas"]
