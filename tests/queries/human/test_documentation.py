# ruff: noqa: F811  fixtures are arguments
"""What the page on training with people says is so."""

import re
from pathlib import Path

import pytest

from pbrl.commands.train import TrainOptions, configure
from pbrl.queries.human import invite
from pbrl.queries.human.answers import current_answers
from pbrl.queries.patience import PatienceConfig

from .served import served
from .web.conftest import make_site, site  # noqa: F401  fixtures

PAGE = (Path(__file__).parents[3] / "docs" / "human-in-the-loop.md").read_text()
NAMES = {"max_steps": "the schedule's interval"}


def code_with(word):
    (block,) = (one for one in re.findall(r"```python\n(.*?)```", PAGE, re.S) if word in one)
    return block


def test_the_limits_have_the_defaults_of_the_table():
    rows = re.findall(r"^\| `([a-z-]+)` \| ([^|]+) \|", PAGE, re.M)
    assert {name.replace("-", "_") for name, _ in rows} == set(vars(PatienceConfig()))
    for name, default in rows:
        field = name.replace("-", "_")
        assert default == NAMES.get(field, str(getattr(PatienceConfig(), field)))


def test_the_options_are_there():
    options = TrainOptions(env="gym/Pendulum-v1", teacher="human", study="walks")
    config = configure(options, ["--preferences.patience.max-open", "9"])
    assert config.preferences.study == "walks"
    assert config.preferences.patience.max_open == 9
    assert config.environment.backend == "official"


@pytest.mark.parametrize("wrong", [{"teacher": "human"}, {"study": "walks"}])
def test_people_and_their_study_go_together(wrong):
    with pytest.raises(ValueError, match="go together"):
        configure(TrainOptions(env="gym/Pendulum-v1", **wrong))


def test_who_learns_from_the_true_reward_asks_nobody():
    options = TrainOptions(env="gym/Pendulum-v1", agent="sac", teacher="human", study="walks")
    with pytest.raises(ValueError, match="asks nobody"):
        configure(options)


def test_the_program_labels_and_ends(site, monkeypatch, capsys):
    with site.database.writing() as connection:
        _, token = invite(connection, site.study.id, "calm", "program")
    with served(site.app) as url:
        code = code_with("prefer_calm").replace("http://127.0.0.1:8000", url)
        monkeypatch.setenv("PBRL_TOKEN", token)
        exec(code, {})  # our own page
    assert capsys.readouterr().out == "6 answers; the run asks no more\n"
    with site.database.reading() as connection:
        answers = current_answers(connection, site.study.id)
    assert len(answers) == 6
    assert {answer.value["label"] for answer in answers} <= {0.0, 1.0}


def test_the_requests_of_the_table_are_those_of_the_schema(site):
    paths = site.app.openapi()["paths"]
    named = re.findall(r"^\| `(GET|POST) (/api[^`]*)`", PAGE, re.M)
    assert len(named) >= 5
    for method, path in named:
        pattern = re.sub(r"{\w+}", "{", path)
        assert any(
            re.sub(r"{\w+}", "{", known) == pattern and method.lower() in operations
            for known, operations in paths.items()
        ), path
