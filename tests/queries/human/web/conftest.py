import itertools
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from pbrl.queries.human import add_queries, create_study, invite, tables
from pbrl.queries.human.asking import NewQuery
from pbrl.queries.human.database import Database, sqlite_url
from pbrl.queries.human.studies import StudyConfig
from pbrl.queries.human.web.app import create_app
from pbrl.queries.human.web.settings import WebSettings

URL = "http://127.0.0.1:8000"
FILM = b"\x00\x00\x00\x18ftypmp42" + bytes(1000)


class Site:
    """A served study with queries that can be shown, and its people."""

    film = FILM

    def __init__(self, folder: Path, make_segment, **config):
        self.clips = folder / "clips"
        self.database = Database(sqlite_url(folder / "study.db"))
        settings = {key: config.pop(key) for key in ("request_rate", "url") if key in config}
        settings = {"request_rate": 10_000.0, "url": URL} | settings
        self.settings = WebSettings(clips=self.clips, secret="s" * 32, **settings)
        self.app = create_app(self.database, self.settings)
        self._make_segment = make_segment
        self.tokens = {}
        self._keys = itertools.count()
        self.study = self.add_study("hop", **config)

    def add_study(self, name, *, num_queries=6, **config):
        config = {"gold_every": 0, "repeat_every": 0, "task": "Hop <far>"} | config
        with self.database.writing() as connection:
            study = create_study(connection, name, StudyConfig(**config))
            size = study.config.num_segments
            segments = [
                [self._make_segment([row, place], episode=row) for place in range(size)]
                for row in range(num_queries)
            ]
            queries = [NewQuery(key=str(row), segments=one) for row, one in enumerate(segments)]
            add_queries(connection, study, queries)
            connection.execute(update(tables.query).values(is_ready=True))
            connection.execute(update(tables.clip).values(status="ready", file="film.mp4"))
            for person, role in (("ada", "annotator"), ("ben", "annotator"), ("owner", "owner")):
                self.tokens[name, person] = invite(connection, study.id, person, role)[1]
        path = self.clips / str(study.id)
        path.mkdir(parents=True)
        (path / "film.mp4").write_bytes(self.film)
        return study

    def browser(self, person=None, study="hop"):
        """A browser, in which somebody has entered by a link."""
        browser = TestClient(self.app, base_url=self.settings.url, raise_server_exceptions=False)
        if person is not None:
            entered = browser.post("/api/session", json={"token": self.tokens[study, person]})
            assert entered.status_code == 200, entered.text
            self.take_key(browser, entered.json()["page"])
        return browser

    def take_key(self, browser, page):
        text = browser.get(page).text
        key = text.split('name="csrf-token" content="')[1].split('"')[0]
        browser.headers["X-CSRF-Token"] = key

    def program(self, person="ada", study="hop"):
        browser = TestClient(self.app, base_url=self.settings.url, raise_server_exceptions=False)
        browser.headers["Authorization"] = f"Bearer {self.tokens[study, person]}"
        return browser

    def next(self, browser, number=1):
        return browser.post("/api/next", json={"number": number}).json()

    def answer(self, browser, assignment, value, **fields):
        body = {"assignment": assignment, "value": value, "key": f"k{next(self._keys)}"} | fields
        return browser.post("/api/answers", json=body)


@pytest.fixture
def make_site(tmp_path, make_segment):
    sites = []

    def make(**config):
        folder = tmp_path / f"site{len(sites)}"
        folder.mkdir()
        sites.append(Site(folder, make_segment, **config))
        return sites[-1]

    yield make
    for site in sites:
        site.database.close()


@pytest.fixture
def site(make_site):
    return make_site()
