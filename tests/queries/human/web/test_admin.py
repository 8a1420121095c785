import csv
import io
import sys

import numpy as np
import pytest

from pbrl.feedback import FeedbackStore


@pytest.fixture
def labelled(make_site):
    """Ada labelled six pairs, Ben three of them, and they agree on two."""
    site = make_site(labels_per_query=2)
    for name, labels in (("ada", (0, 1, 0, 1, 1, 1)), ("ben", (0, 1, 1))):
        browser = site.program(name)
        for own in labels:
            (task,) = site.next(browser)["tasks"]
            first = browser.get(f"/api/assignments/{task['assignment']}/segments").json()[0]
            is_swapped = not own_first(site, first)
            site.answer(browser, task["assignment"], {"label": 1 - own if is_swapped else own})
    return site


def own_first(site, shown):
    """Whether the segment shown first is the first of its query."""
    firsts = [site._make_segment([row, 0]).observations for row in range(6)]
    return any(np.allclose(first, shown["observations"]) for first in firsts)


def test_the_report(labelled):
    body = labelled.browser("owner").get("/api/admin/report").json()
    report = body["report"]
    assert (body["study"], body["state"]) == ("hop", "open")
    assert (report["num_answers"], report["num_wanted"], report["num_done"]) == (9, 12, 3)
    assert report["alpha"]["num_items"] == 3
    assert report["num_conflicts"] == 1
    assert {name for name, _ in report["conflicts"][0]["answers"]} == {"ada", "ben"}
    assert report["people"][0]["gold"]["value"] is None  # NaN is no JSON
    assert "fingerprint" not in str(report)


def test_pages_show_it(labelled):
    owner = labelled.browser("owner")
    page = owner.get("/admin").text
    assert "Hop &lt;far&gt;" in page
    assert "Hop <far>" not in page
    assert "<b>3</b> of 6 queries done" in owner.get("/admin/panel").text
    assert "<b>ben</b>: second" in owner.get("/admin/conflicts").text


def test_exports(labelled, tmp_path):
    owner = labelled.browser("owner")
    table = owner.get("/api/admin/export/csv")
    assert table.headers["content-disposition"] == 'attachment; filename="hop-csv.csv"'
    assert len(list(csv.DictReader(io.StringIO(table.text)))) == 9
    assert owner.get("/api/admin/export/parquet").content[:4] == b"PAR1"
    path = tmp_path / "record.npz"
    path.write_bytes(owner.get("/api/admin/export/record").content)
    assert FeedbackStore.load(path).num_labelled == 9
    pairs = owner.get("/api/admin/export/pairs", params={"aggregate": "majority"})
    assert np.load(io.BytesIO(pairs.content))["label"].tolist() == [0.0, 1.0, 0.5, 1.0, 1.0, 1.0]
    assert owner.get("/api/admin/export/exe").status_code == 422


def test_exports_that_cannot_be_say_why(make_site):
    owner = make_site(kind="ranking").browser("owner")
    refused = owner.get("/api/admin/export/record")
    assert refused.status_code == 422
    assert "has rankings" in refused.json()["detail"]


def test_what_a_missing_package_cannot_export_is_said(site, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused = site.browser("owner").get("/api/admin/export/parquet")
    assert refused.status_code == 422
    assert "pip install pyarrow" in refused.json()["detail"]


def test_ratings_are_exported_with_their_segments(make_site):
    site = make_site(kind="rating")
    ada, owner = site.program("ada"), site.browser("owner")
    assert owner.get("/api/admin/export/graded").status_code == 422  # nothing yet
    (task,) = site.next(ada)["tasks"]
    site.answer(ada, task["assignment"], {"rating": 2})
    arrays = np.load(io.BytesIO(owner.get("/api/admin/export/graded").content))
    assert arrays["grade"].tolist() == [2]
    assert "no pairs" in owner.get("/api/admin/export/pairs").json()["detail"]


def test_people_come_and_go(site):
    owner = site.browser("owner")
    invited = owner.post("/api/admin/people", json={"name": "eve"}).json()
    token = invited["link"].partition("/join#")[2]
    browser = site.browser()
    assert browser.post("/api/session", json={"token": token}).json()["page"] == "/label"
    site.take_key(browser, "/label")
    people = owner.get("/api/admin/report").json()["report"]["people"]
    number = next(one["person"]["id"] for one in people if one["person"]["name"] == "eve")
    renewed = owner.post(f"/api/admin/people/{number}/renew").json()
    assert browser.get("/api/study").status_code == 401  # the old link's session has ended
    assert site.browser().post("/api/session", json={"token": token}).status_code == 401
    token = renewed["link"].partition("/join#")[2]
    assert browser.post("/api/session", json={"token": token}).status_code == 200
    assert owner.post(f"/api/admin/people/{number}/revoke").status_code == 204
    assert browser.get("/api/study").status_code == 401
    assert owner.post("/api/admin/people", json={"name": "eve"}).status_code == 409
    assert owner.post("/api/admin/people", json={"name": "=cmd()"}).status_code == 422


def test_another_studys_people_are_out_of_reach(site):
    site.add_study("walk")
    owner = site.browser("owner")
    program = site.program("ada", "walk")
    number = 4  # the first of the second study
    assert owner.post(f"/api/admin/people/{number}/revoke").status_code == 404
    assert owner.post(f"/api/admin/people/{number}/renew").status_code == 404
    assert program.get("/api/study").json()["name"] == "walk"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/admin/report"),
        ("POST", "/api/admin/people"),
        ("POST", "/api/admin/people/1/revoke"),
        ("PUT", "/api/admin/state"),
        ("GET", "/api/admin/export/csv"),
    ],
)
def test_annotators_see_nothing_of_this(site, method, path):
    bodies = {"/api/admin/people": {"name": "x"}, "/api/admin/state": {"state": "open"}}
    for visitor, status in ((site.browser("ada"), 403), (site.browser(), 401)):
        refused = visitor.request(method, path, json=bodies.get(path))
        assert refused.status_code == status
    for page in ("/admin", "/admin/panel", "/admin/conflicts"):
        answer = site.browser("ada").get(page, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/label")


def test_owners_do_not_label(site):
    owner = site.browser("owner")
    assert owner.post("/api/next", json={}).status_code == 403
    assert owner.get("/label", follow_redirects=False).headers["location"] == "/admin"
