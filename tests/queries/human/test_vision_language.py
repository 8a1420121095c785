# ruff: noqa: F811  fixtures are arguments
import base64
import json
import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, update

from pbrl.queries.human import invite, tables
from pbrl.queries.human.answers import current_answers
from pbrl.queries.human.client import LabellingClient, label_until_finished
from pbrl.queries.human.encoding import write_clip
from pbrl.queries.human.http import Refused, Retries
from pbrl.queries.human.vision_language import (
    VisionLanguageConfig,
    VisionLanguageJudge,
    even_frames,
    parse,
)

from .served import served, stand_in
from .web.conftest import make_site, site  # noqa: F401  fixtures

SCRIPT = Path(__file__).parents[3] / "scripts" / "label_with_model.py"
QUICK = Retries(attempts=3, first_pause=0.01, longest_pause=0.05)


def brightness(picture):
    """Mean of the red of a data address."""
    import imageio.v3 as imageio

    kind, content = picture.split(",", 1)
    assert kind in ("data:image/jpeg;base64", "data:image/png;base64")
    return float(imageio.imread(base64.b64decode(content))[..., 0].mean())


class Model:
    """A stand-in that prefers the brighter recording, or has one of the usual failings."""

    def __init__(self, failing=None):
        self.failing = failing
        self.bodies = []
        self.keys = []

    def __call__(self, path, body, headers):
        assert path == "/v1/chat/completions"
        self.bodies.append(body)
        self.keys.append(headers.get("Authorization"))
        if self.failing == "busy" and len(self.bodies) == 1:
            return 503, {}, {"error": "overloaded"}
        if self.failing == "refuses":
            return 400, {}, {"error": "no such model"}
        if self.failing == "nonsense":
            return 200, {}, {"choices": []}
        return 200, {}, {"choices": [{"message": {"content": self.say(body)}}]}

    def say(self, body):
        match self.failing:
            case "first":
                return "Recording A, of course.\nANSWER A"
            case "unsure":
                return "Both are hard to see.\nANSWER UNSURE"
            case "equal":
                return "ANSWER EQUAL"
            case "silent":
                return "I would rather not."
        parts = body["messages"][0]["content"]
        names = [row for row, part in enumerate(parts) if part.get("text", "").startswith("Rec")]
        a, b = (
            [brightness(one["image_url"]["url"]) for one in rows]
            for rows in (parts[names[0] + 1 : names[1]], parts[names[1] + 1 :])
        )
        name = "B" if np.mean(b) > np.mean(a) else "A"
        return f"A is {np.mean(a):.0f}, B is {np.mean(b):.0f}. ANSWER {name}"


@pytest.fixture
def bright_site(make_site):
    """A study whose clips are films of one grey each, brighter with the segment's number."""
    site = make_site(num_queries=3)
    with site.database.writing() as connection:
        for number in connection.execute(select(tables.segment.c.id)).scalars().all():
            film = site.clips / str(site.study.id) / f"{number}.mp4"
            frames = (np.full((32, 32, 3), 20 + 20 * number, np.uint8) for _ in range(9))
            write_clip(film, frames, 10)
            values = {"file": film.name}
            connection.execute(
                update(tables.clip).where(tables.clip.c.segment_id == number).values(**values)
            )
    return site


def run(site, model, tmp_path, **changes):
    """Label everything by a model and return the answers."""
    with site.database.writing() as connection:
        _, token = invite(connection, site.study.id, "model", "program")
    with stand_in(model) as model_url, served(site.app) as url:
        config = VisionLanguageConfig(
            url=f"{model_url}/v1", model="seer", num_frames=3, cache=tmp_path / "cache"
        )
        judge = VisionLanguageJudge(replace(config, **changes), api_key="key", retries=QUICK)
        client = LabellingClient(url, token, QUICK)
        left = iter([False] * 3)
        label_until_finished(client, judge, idle_seconds=0.01, is_stopped=lambda: next(left, True))
    with site.database.reading() as connection:
        return current_answers(connection, site.study.id)


def test_the_model_sees_the_frames_and_its_answers_are_labels(bright_site, tmp_path):
    model = Model()
    answers = run(bright_site, model, tmp_path)
    assert [answer.value for answer in answers] == [{"label": 1.0}] * 3  # the second is brighter
    assert {tuple(answer.order) for answer in answers} <= {(0, 1), (1, 0)}
    assert set(model.keys) == {"Bearer key"}
    assert len(model.bodies) == 6  # both orders of three queries
    question = model.bodies[0]["messages"][0]["content"]
    assert "Hop <far>" in question[0]["text"]
    assert sum(part["type"] == "image_url" for part in question) == 6


def test_a_model_that_always_prefers_the_first_cannot_tell(bright_site, tmp_path):
    answers = run(bright_site, Model("first"), tmp_path)
    assert [answer.value for answer in answers] == [None] * 3


def test_without_swapping_it_is_believed(bright_site, tmp_path):
    model = Model("first")
    answers = run(bright_site, model, tmp_path, swaps=False)
    assert len(model.bodies) == 3
    assert all(answer.value["label"] == float(answer.order[0] == 1) for answer in answers)


@pytest.mark.parametrize(
    ("failing", "value", "asked"),
    [("unsure", None, 3), ("silent", None, 3), ("equal", {"label": 0.5}, 6)],
)
def test_unsure_and_equal(bright_site, tmp_path, failing, value, asked):
    model = Model(failing)
    assert [one.value for one in run(bright_site, model, tmp_path)] == [value] * 3
    assert len(model.bodies) == asked


def test_a_busy_endpoint_is_asked_again(bright_site, tmp_path):
    model = Model("busy")
    assert len(run(bright_site, model, tmp_path)) == 3
    assert len(model.bodies) == 7


def test_nothing_is_asked_twice(bright_site, make_site, tmp_path):
    run(bright_site, Model(), tmp_path)
    files = list((tmp_path / "cache").rglob("*.json"))
    assert len(files) == 6
    assert json.loads(files[0].read_text())["model"] == "seer"
    judge = VisionLanguageJudge(
        VisionLanguageConfig(url="http://127.0.0.1:9/v1", model="seer", cache=tmp_path / "cache")
    )
    judge._question = "?"
    body = judge._body([["data:a"], ["data:b"]])
    judge._keep(body, "ANSWER B")
    assert judge._answer([["data:a"], ["data:b"]]) == 1.0  # nobody listens there
    shutil.rmtree(tmp_path / "cache")
    assert judge._read(body) is None


@pytest.mark.parametrize(("failing", "error"), [("refuses", Refused), ("nonsense", ValueError)])
def test_an_endpoint_that_does_not_fit_stops_the_program(bright_site, tmp_path, failing, error):
    with pytest.raises(error):
        run(bright_site, Model(failing), tmp_path)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("ANSWER A", 0.0),
        ("answer: b", 1.0),
        ("First ANSWER A, no:\n**ANSWER EQUAL**", 0.5),
        ("ANSWER UNSURE", None),
        ("A is better", None),
        ("ANSWER BOTH", None),
        ("", None),
    ],
)
def test_parse(text, label):
    assert parse(text) == label


def test_even_frames_have_both_ends(tmp_path):
    import imageio.v3 as imageio

    frames = (np.full((32, 32, 3), 25 * number, np.uint8) for number in range(9))
    write_clip(tmp_path / "film.mp4", frames, 10)
    shown = even_frames((tmp_path / "film.mp4").read_bytes(), 3)
    means = [imageio.imread(one).mean() for one in shown]
    np.testing.assert_allclose(means, [0, 100, 200], atol=6)


def test_the_script_labels_until_nothing_is_left(bright_site, tmp_path, monkeypatch, capsys):
    site = bright_site
    with site.database.writing() as connection:
        _, token = invite(connection, site.study.id, "model", "program")
    script = runpy.run_path(str(SCRIPT))
    with stand_in(Model()) as model_url, served(site.app) as url:
        with pytest.raises(SystemExit, match="PBRL_TOKEN"):
            script["main"](f"{model_url}/v1", "seer", url=url)
        monkeypatch.setenv("PBRL_TOKEN", token)
        script["main"](f"{model_url}/v1", "seer", url=url, frames=2, cache=tmp_path / "cache")
    assert "nothing is left to label; 3 answers" in capsys.readouterr().out


def test_studies_of_other_kinds_are_refused(make_site, tmp_path):
    with pytest.raises(ValueError, match="pairs"):
        run(make_site(kind="rating"), Model(), tmp_path)


def test_impossible_numbers_are_refused():
    for changes in ({"num_frames": 0}, {"temperature": 3.0}, {"max_tokens": 0}):
        with pytest.raises(ValueError, match=next(iter(changes))):
            VisionLanguageConfig(url="http://a", model="b", **changes)
