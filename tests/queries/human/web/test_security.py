import re

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from pbrl.queries.human import tables
from pbrl.queries.human.people import Person
from pbrl.queries.human.web import api
from pbrl.queries.human.web.limits import RateLimiter
from pbrl.queries.human.web.sessions import Sessions
from pbrl.queries.human.web.settings import WebSettings, load_secret


def test_the_cookie(site):
    browser = site.browser()
    entered = browser.post("/api/session", json={"token": site.tokens["hop", "ada"]})
    cookie = entered.headers["set-cookie"]
    assert re.search("HttpOnly", cookie)
    assert re.search("SameSite=strict", cookie)
    assert "Secure" not in cookie
    assert site.tokens["hop", "ada"] not in cookie


def test_the_cookie_over_tls(make_site):
    site = make_site(url="https://labels.example")
    entered = site.browser().post("/api/session", json={"token": site.tokens["hop", "ada"]})
    assert entered.headers["set-cookie"].startswith("__Host-pbrl=")
    assert "Secure" in entered.headers["set-cookie"]
    assert "max-age" in entered.headers["strict-transport-security"]


@pytest.mark.parametrize("change", [lambda c: c[:-2], lambda c: "x" + c, lambda _: "a.b.c"])
def test_a_forged_cookie_is_nobody(site, change):
    browser = site.browser("ada")
    cookie = browser.cookies["pbrl"]
    browser.cookies.clear()
    browser.cookies.set("pbrl", change(cookie))
    assert browser.get("/api/study").status_code == 401


def test_sessions_end():
    sessions = Sessions("secret", is_secure=False)
    person = Person(
        id=1, study_id=1, name="ada", role="annotator", is_revoked=False, fingerprint="f"
    )
    session, cookie = sessions.start(person)
    assert sessions.read(cookie) == session
    assert Sessions("other", is_secure=False).read(cookie) is None
    assert sessions.is_csrf_token(session, sessions.csrf_token(session))
    assert not sessions.is_csrf_token(sessions.start(person)[0], sessions.csrf_token(session))


def test_leaving_takes_the_cookie(site):
    browser = site.browser("ada")
    assert browser.delete("/api/session").status_code == 204
    assert browser.get("/api/study").status_code == 401


@pytest.mark.parametrize("key", [None, "", "wrong", "é"])
def test_every_change_needs_the_key_of_the_page(site, key):
    browser = site.browser("ada")
    del browser.headers["X-CSRF-Token"]
    headers = {} if key is None else {"X-CSRF-Token": key.encode()}
    for method, path, body in (
        ("POST", "/api/next", {}),
        ("POST", "/api/undo", {"key": "k"}),
        ("DELETE", "/api/session", None),
    ):
        refused = browser.request(method, path, json=body, headers=headers)
        assert refused.status_code == 403, path


def operations(site):
    """Every method and path of the interface, with numbers in its places."""
    paths = site.browser().get("/api/openapi.json").json()["paths"]
    return [
        (method.upper(), re.sub(r"{\w*kind}", "csv", path).replace("{person_id}", "1"))
        for path, methods in paths.items()
        for method in methods
    ]


def test_nothing_is_open_but_the_door(site):
    for method, path in operations(site):
        if (method, path) != ("POST", "/api/session"):
            assert site.browser().request(method, path).status_code in (401, 422), (method, path)


@pytest.mark.parametrize("person", ["ada", "owner"])
def test_no_change_is_made_without_the_key(site, person):
    browser = site.browser(person)
    del browser.headers["X-CSRF-Token"]
    changes = [(method, path) for method, path in operations(site) if method != "GET"]
    assert len(changes) >= 8
    for method, path in changes:
        if path != "/api/session" or method == "DELETE":
            assert browser.request(method, path).status_code == 403, (method, path)


def test_anothers_key_is_not_mine(site):
    ada, ben = site.browser("ada"), site.browser("ben")
    ada.headers["X-CSRF-Token"] = ben.headers["X-CSRF-Token"]
    assert ada.post("/api/next", json={}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}],
)
def test_other_sites_change_nothing(site, headers):
    browser = site.browser("ada")
    assert browser.post("/api/next", json={}, headers=headers).status_code == 403
    token = {"token": site.tokens["hop", "ada"]}
    assert site.browser().post("/api/session", json=token, headers=headers).status_code == 403


def test_other_names_of_the_host_are_refused(site):
    assert site.browser().get("/", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("path", ["/", "/join", "/static/label.js", "/api/study", "/nowhere"])
def test_every_response_says_what_a_page_may_do(site, path):
    headers = site.browser().get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"]


def test_pages_have_nothing_inline(site):
    for visitor, page in (("ada", "/label"), ("owner", "/admin"), (None, "/join"), (None, "/")):
        text = site.browser(visitor).get(page).text
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", text)


def test_whoever_looks_at_a_page_gets_one(site):
    browser = site.browser()
    page = browser.get("/nowhere<script>", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is no such page" in page.text
    assert "<script>" not in page.text
    assert browser.get("/nowhere").json() == {"detail": "Not Found"}


def test_large_requests_are_refused(site):
    content = b'{"key": "' + b"k" * 70_000 + b'"}'
    refused = site.program().post("/api/undo", content=content)
    assert refused.status_code == 413
    chunks = (b"x" * 1_000 for _ in range(100))
    assert site.program().post("/api/undo", content=chunks).status_code == 413


def test_clips_are_for_those_who_were_given_them(site):
    ada, ben = site.browser("ada"), site.browser("ben")
    (task,) = site.next(ada)["tasks"]
    clip = task["segments"][0]["clip"]
    shown = ada.get(clip)
    assert shown.headers["content-type"] == "video/mp4"
    assert "private" in shown.headers["cache-control"]
    part = ada.get(clip, headers={"Range": "bytes=0-9"})
    assert (part.status_code, len(part.content)) == (206, 10)
    assert ben.get(clip).status_code == 404
    assert site.browser().get(clip).status_code == 404
    assert site.browser("owner").get(clip).status_code == 200


def test_no_study_reaches_into_another(site):
    site.add_study("walk")
    stranger = site.browser("owner", "walk")
    (task,) = site.next(site.browser("ada"))["tasks"]
    assert stranger.get(task["segments"][0]["clip"]).status_code == 404
    assert stranger.get("/api/admin/report").json()["study"] == "walk"
    refused = site.answer(site.browser("ada", "walk"), task["assignment"], {"label": 0})
    assert refused.status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/clips/..%2f..%2fstudy.db",
        "/clips/1%2f..%2f..%2fstudy.db",
        "/static/../app.py",
        "/static/..%2f..%2fapp.py",
        "/static/%2e%2e/%2e%2e/settings.py",
        "/clips/0",
        "/clips/99999999999999999999",
    ],
)
def test_no_path_leads_to_other_files(site, path):
    assert site.browser("owner").get(path).status_code in (404, 422)


def test_a_clip_of_a_strange_name_is_not_served(site):
    (site.clips.parent / "secret").write_text("secret")
    with site.database.writing() as connection:
        connection.execute(update(tables.clip).values(file="../../secret"))
    assert site.browser("owner").get("/clips/1").status_code == 404


def test_a_clip_that_is_gone_is_missing(site):
    (site.clips / "1" / "film.mp4").unlink()
    assert site.browser("owner").get("/clips/1").status_code == 404


def test_guessing_tokens_is_slow(site):
    browser = site.browser()
    codes = [
        browser.post("/api/session", json={"token": f"guess {number}"}).status_code
        for number in range(25)
    ]
    assert codes[:20] == [401] * 20
    assert codes[-1] == 429
    right = browser.post("/api/session", json={"token": site.tokens["hop", "ada"]})
    assert right.status_code == 200  # who has an invitation is not kept out


def test_requests_are_counted_for_each_person(make_site):
    site = make_site(request_rate=1.0)
    ada, ben = site.program("ada"), site.program("ben")
    codes = [ada.get("/api/study").status_code for _ in range(8)]
    assert codes.count(200) >= 4
    assert codes[-1] == 429
    assert ada.get("/api/study").headers["retry-after"] == "1"
    assert ben.get("/api/study").status_code == 200


def test_a_bucket_by_hand():
    now = [0.0]
    limiter = RateLimiter(2.0, 3.0, clock=lambda: now[0])
    assert [limiter.wait_seconds("a") for _ in range(3)] == [0, 0, 0]
    assert limiter.wait_seconds("a") == pytest.approx(0.5)
    assert limiter.wait_seconds("b") == 0
    now[0] = 0.5
    assert limiter.wait_seconds("a") == 0
    assert limiter.wait_seconds("a") == pytest.approx(0.5)


def test_errors_show_no_trace(site, monkeypatch):
    def fail(*_args, **_kwargs):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(api, "record_answer", fail)
    program = site.program()
    (task,) = site.next(program)["tasks"]
    failed = site.answer(program, task["assignment"], {"label": 0})
    assert failed.status_code == 500
    assert failed.json()["detail"].startswith("the server made a mistake")
    assert "default-src 'none'" in failed.headers["content-security-policy"]
    assert "secret" not in failed.text
    assert "Traceback" not in failed.text


def test_a_busy_database_asks_to_come_again(site, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OperationalError("INSERT", {}, Exception("database is locked"))

    monkeypatch.setattr(api, "hand_out", fail)
    refused = site.program().post("/api/next", json={})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert "INSERT" not in refused.text


def test_annotators_see_no_labels_of_others(make_site):
    site = make_site(labels_per_query=2)
    ada, ben = site.browser("ada"), site.browser("ben")
    (task,) = site.next(ada)["tasks"]
    before = site.next(ben)
    site.answer(ada, task["assignment"], {"label": 1})
    assert site.next(ben) == before
    with site.database.reading() as connection:
        number = connection.execute(select(tables.assignment.c.id)).scalars().all()
    for assignment in number:
        own = ben.get(f"/api/assignments/{assignment}/segments").status_code
        assert own == (200 if assignment != task["assignment"] else 404)


def test_the_key_of_cookies_is_made_once_and_private(tmp_path):
    secret = load_secret(tmp_path)
    assert load_secret(tmp_path) == secret
    assert len(secret) >= 43
    assert (tmp_path / "cookie-key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("url", ["ftp://a", "localhost:8000", "http://a/path", "http://"])
def test_addresses_are_those_of_a_server(tmp_path, url):
    with pytest.raises(ValueError, match="url must be"):
        WebSettings(clips=tmp_path, secret="s", url=url)
