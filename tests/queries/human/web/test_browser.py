import csv
import os
import shutil
import threading
from itertools import cycle

import numpy as np
import pytest

from pbrl.queries.human import current_answers
from pbrl.queries.human.encoding import write_clip
from pbrl.queries.human.kinds import to_shown_order
from pbrl.queries.human.tables import clip as clip_table
from pbrl.queries.human.web import admin_api
from pbrl.queries.human.worker import ClipWorker
from tests.queries.human.served import served
from tests.queries.human.web.conftest import Site

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")

PATIENCE = 60_000  # milliseconds; a busy machine is slow, not wrong
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


class Hall(Site):
    """Studies on a real server, and people in real browsers."""

    def __init__(self, folder, make_segment, chromium):
        film = folder / "film.mp4"
        frames = np.random.default_rng(0).integers(0, 255, (5, 48, 64, 3), np.uint8)
        write_clip(film, frames, 30)
        self.film = film.read_bytes()
        self._chromium = chromium
        self._contexts = []
        self.errors = []
        super().__init__(folder, make_segment)

    def enter(self, study, person, *, viewport=DESKTOP, **options):
        """Open somebody's invitation; annotators have read the help."""
        context = self._chromium.new_context(viewport=viewport, **options)
        context.set_default_timeout(PATIENCE)
        self._contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.errors.append(error))
        page.goto(f"{self.address}/join#{self.tokens[study, person]}")
        page.wait_for_url("**/admin" if person == "owner" else "**/label")
        if person != "owner":
            page.locator("#help button").click()
        return page

    def answers(self, study):
        """Who said what, about the segments in the order shown."""
        with self.database.reading() as connection:
            given = current_answers(connection, study.id)
        kind = study.config.kind
        return [(one.annotator, to_shown_order(kind, one.value, one.order)) for one in given]

    def leave(self):
        while self._contexts:
            self._contexts.pop().close()


@pytest.fixture(scope="module")
def open_hall(tmp_path_factory, make_segment):
    expect.set_options(timeout=PATIENCE)
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as player:
        chromium = player.chromium.launch(executable_path=CHROMIUM, args=options)
        hall = Hall(tmp_path_factory.mktemp("hall"), make_segment, chromium)
        with served(hall.app) as hall.address:
            yield hall
        chromium.close()
        hall.database.close()


@pytest.fixture
def hall(open_hall):
    yield open_hall
    open_hall.leave()
    assert open_hall.errors == []


def shown(page):
    """The query on show, once its clips can be seen."""
    page.wait_for_function(
        "() => { const films = [...document.querySelectorAll('#stage video')];"
        " return films.length > 0 && films.every((film) => film.readyState >= 2); }"
    )
    return page.locator("#stage").get_attribute("data-assignment")


def press(page, key):
    """Answer by a key and wait for what comes after it."""
    before = shown(page)
    page.keyboard.press(key)
    page.wait_for_function(
        "(before) => document.getElementById('stage').dataset.assignment !== before", arg=before
    )


def told(page, words):
    """Wait until the page says so, for a moment."""
    expect(page.locator("#toast")).to_contain_text(words)


def saved(page):
    expect(page.locator("#saved")).to_have_text("Saved")


def count(page, words):
    expect(page.locator("#count")).to_have_text(words)


def test_twenty_pairs_by_keyboard(hall):
    study = hall.add_study("twenty", num_queries=22)
    page = hall.enter("twenty", "ada")
    keys = cycle({"ArrowLeft": 0.0, "d": 1.0, "ArrowUp": 0.5, "1": 0.0, "ArrowRight": 1.0}.items())
    expected = []
    for _, (key, label) in zip(range(20), keys, strict=False):
        press(page, key)
        expected.append(("ada", {"label": label}))
    count(page, "20 answered · 2 left")
    saved(page)
    assert hall.answers(study) == expected


def test_skip_and_undo(hall):
    study = hall.add_study("undo", num_queries=3)
    page = hall.enter("undo", "ada")
    first = shown(page)
    page.keyboard.press("z")
    told(page, "no answer to take back")
    press(page, "ArrowDown")
    saved(page)
    assert hall.answers(study) == [("ada", None)]
    press(page, "z")
    told(page, "taken back")
    assert shown(page) == first
    count(page, "0 answered · 3 left")
    for key in ("ArrowRight", "s", "a"):
        press(page, key)
    expect(page.locator("#message")).to_contain_text("All done")
    page.get_by_role("button", name="Take the last answer back").click()
    count(page, "2 answered · 1 left")
    press(page, "w")
    saved(page)
    labels = [value and value["label"] for _, value in hall.answers(study)]
    assert labels == [1.0, None, 0.5]


def test_a_reload_midway_changes_nothing(hall):
    hall.add_study("reload", num_queries=4)
    page = hall.enter("reload", "ada")
    press(page, "a")
    saved(page)
    before = shown(page)
    page.reload()
    assert shown(page) == before
    assert not page.locator("#help").is_visible()  # it was read
    count(page, "1 answered · 3 left")


def test_answers_without_a_connection_wait_in_the_browser(hall):
    study = hall.add_study("offline", num_queries=4)
    page = hall.enter("offline", "ada")
    shown(page)
    page.context.set_offline(True)
    press(page, "a")
    expect(page.locator("#saved")).to_have_text("Offline: 1 kept here")
    assert hall.answers(study) == []
    page.context.set_offline(False)
    saved(page)
    assert hall.answers(study) == [("ada", {"label": 0.0})]


def test_two_annotators_at_once_share_the_queries(hall):
    study = hall.add_study("two", num_queries=6)
    ada, ben = hall.enter("two", "ada"), hall.enter("two", "ben")
    for _ in range(3):
        for page in (ada, ben):
            press(page, "a")
    for page in (ada, ben):
        expect(page.locator("#message")).to_contain_text("All done")
    with hall.database.reading() as connection:
        given = current_answers(connection, study.id)
    assert len({one.query_id for one in given}) == len(given) == 6
    assert {one.annotator for one in given} == {"ada", "ben"}


def test_two_tabs_of_one_person_count_once(hall):
    study = hall.add_study("tabs", num_queries=2)
    first = hall.enter("tabs", "ada")
    second = first.context.new_page()
    second.goto(f"{hall.address}/label")
    assert shown(first) == shown(second)
    press(first, "a")
    saved(first)
    press(second, "d")
    told(second, "Not recorded: the query is answered already")
    assert shown(first) == shown(second)
    assert hall.answers(study) == [("ada", {"label": 0.0})]


def test_ratings(hall):
    study = hall.add_study("rating", kind="rating", num_queries=2, classes=("bad", "fair", "good"))
    page = hall.enter("rating", "ada")
    shown(page)
    page.keyboard.press("9")  # there are three classes
    press(page, "3")
    page.get_by_role("button", name="fair").click()
    expect(page.locator("#message")).to_contain_text("All done")
    assert hall.answers(study) == [("ada", {"rating": 2}), ("ada", {"rating": 1})]


def test_rankings(hall):
    study = hall.add_study("ranking", kind="ranking", num_queries=2)
    page = hall.enter("ranking", "ada")
    shown(page)
    page.keyboard.press("Enter")
    told(page, "the best first")
    for key in ("1", "x", "3", "1"):  # x starts over
        page.keyboard.press(key)
    send = page.get_by_role("button", name="next best")
    expect(send).to_be_disabled()
    page.keyboard.press("4")  # what is left is the worst
    press(page, "Enter")
    shown(page)
    for place in (1, 0, 3):
        page.locator("#stage .clip").nth(place).click()
    page.get_by_role("button", name="Send this order").click()
    expect(page.locator("#message")).to_contain_text("All done")
    assert [value["ranking"] for _, value in hall.answers(study)] == [[2, 0, 3, 1], [1, 0, 3, 2]]


def test_the_moment_that_decided(hall):
    study = hall.add_study("moment", kind="moment", num_queries=2)
    page = hall.enter("moment", "ada")
    shown(page)
    page.keyboard.press("ArrowLeft")
    told(page, "First mark the moment")
    page.locator("#scrub").fill("1")
    page.keyboard.press("i")
    page.locator("#scrub").fill("3")
    page.keyboard.press("o")
    expect(page.get_by_role("button", name="Starts at 2")).to_be_visible()
    assert page.locator("#band").is_visible()
    press(page, "ArrowLeft")
    shown(page)
    assert not page.locator("#band").is_visible()
    press(page, "ArrowUp")  # nothing decided between equals
    expect(page.locator("#message")).to_contain_text("All done")
    assert [value for _, value in hall.answers(study)] == [
        {"label": 0.0, "moment": [1, 3]},
        {"label": 0.5, "moment": None},
    ]


def test_clips_play_and_step_together(hall):
    hall.add_study("play", num_queries=1)
    page = hall.enter("play", "ada")
    shown(page)
    page.keyboard.press(" ")
    page.locator("#scrub").fill("2")
    page.keyboard.press(".")
    expect(page.locator("#step")).to_have_text("4 / 5")
    page.keyboard.press("]")
    expect(page.locator("#speed")).to_have_value("2")
    # Both films stand in the middle of the fourth of five frames, 30 a second.
    page.wait_for_function(
        "() => [...document.querySelectorAll('#stage video')]"
        ".every((film) => film.paused && Math.abs(film.currentTime - 3.5 / 30) < 0.01)"
    )
    page.keyboard.press(",")
    expect(page.locator("#step")).to_have_text("3 / 5")


def test_drawings_on_a_phone(hall):
    study = hall.add_study("drawn", num_queries=2)
    with hall.database.writing() as connection:
        rows = clip_table.update().where(clip_table.c.study_id == study.id)
        connection.execute(rows.values(status="waiting", file=None))
    ClipWorker(hall.database, hall.clips).work(threading.Event(), until_idle=True)
    page = hall.enter("drawn", "ada", viewport=PHONE, has_touch=True, is_mobile=True)
    expect(page.locator("#stage img")).to_have_count(2)
    expect(page.locator("#drawn")).to_contain_text("There is no film")
    page.get_by_role("button", name="Lower is better").tap()
    count(page, "1 answered · 1 left")
    saved(page)
    assert hall.answers(study) == [("ada", {"label": 1.0})]
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    owner = hall.enter("drawn", "owner")
    expect(owner.locator("#panel")).to_contain_text("4 drawn: the study names no environment")


def test_the_owner_pauses_and_goes_on(hall):
    hall.add_study("pause", num_queries=3)
    owner, ada = hall.enter("pause", "owner"), hall.enter("pause", "ada")
    shown(ada)
    owner.get_by_role("button", name="Pause").click()
    expect(owner.locator(".state")).to_have_text("paused")
    ada.keyboard.press("a")  # what is in somebody's hands is taken all the same
    ada.keyboard.press("a")
    expect(ada.locator("#message")).to_contain_text("The study is paused")
    expect(owner.locator("[data-count=answers]")).not_to_have_text("0")  # by itself
    owner.get_by_role("button", name="Open").click()
    shown(ada)  # by itself as well


def test_the_owner_invites_and_revokes(hall):
    hall.add_study("people", num_queries=3)
    owner = hall.enter("people", "owner")
    owner.get_by_label("name").fill("eve")
    owner.get_by_role("button", name="Make a link").click()
    link = owner.locator("#link-text")
    expect(link).to_contain_text("/join#")
    hall.tokens["people", "eve"] = link.inner_text().partition("#")[2]
    eve = hall.enter("people", "eve")
    press(eve, "a")
    owner.on("dialog", lambda dialog: dialog.accept())
    owner.get_by_role("row", name="eve").get_by_role("button", name="Revoke").click()
    expect(owner.locator("tr.revoked")).to_contain_text("eve")
    eve.keyboard.press("a")
    expect(eve.locator("#message")).to_contain_text("Your session has ended")
    eve.goto(f"{hall.address}/join#{hall.tokens['people', 'eve']}")
    expect(eve.locator("main")).to_contain_text("Ask whoever sent it")


def test_the_owner_sees_conflicts_and_exports(hall, monkeypatch):
    hall.add_study("export", num_queries=1, labels_per_query=2)
    for name, own in (("ada", "a"), ("ben", "d")):
        press(hall.enter("export", name), own)
    owner = hall.enter("export", "owner")
    expect(owner.locator("[data-count=answers]")).to_have_text("2")
    with owner.expect_download() as download:
        owner.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == "export-csv.csv"
    with open(download.value.path(), newline="") as file:
        assert {row["annotator"] for row in csv.DictReader(file)} == {"ada", "ben"}

    def fail(_):
        raise ImportError("Parquet needs the package pyarrow: pip install pyarrow")

    monkeypatch.setattr(admin_api, "table_as_parquet", fail)
    owner.get_by_role("link", name="Parquet").click()
    told(owner, "Not exported: Parquet needs the package pyarrow")


def test_strangers_are_told_what_to_do(hall):
    context = hall._chromium.new_context()
    hall._contexts.append(context)
    page = context.new_page()
    for path, words in (
        ("/join#wrong", "this invitation is not valid"),
        ("/label", "open the invitation link"),
        ("/admin", "open the invitation link"),
        ("/nowhere", "There is no such page"),
    ):
        page.goto("about:blank")
        page.goto(hall.address + path)
        expect(page.locator("main")).to_contain_text(words, ignore_case=True)
