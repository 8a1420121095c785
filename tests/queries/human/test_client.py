# ruff: noqa: F811  fixtures are arguments
import threading
import time

import pytest

from pbrl.queries.follower import RunStatus
from pbrl.queries.human import invite
from pbrl.queries.human.answers import current_answers
from pbrl.queries.human.client import LabellingClient, label_until_finished
from pbrl.queries.human.http import Refused, Retries
from pbrl.queries.human.live_runs import LiveRun, save_run
from pbrl.queries.human.studies import set_state

from .served import served
from .web.conftest import make_site, site  # noqa: F401  fixtures

QUICK = Retries(attempts=3, first_pause=0.01, longest_pause=0.05)


@pytest.fixture
def client(site):
    with site.database.writing() as connection:
        _, token = invite(connection, site.study.id, "robot", "program")
    with served(site.app) as url:
        yield LabellingClient(url, token, QUICK)


def test_a_program_sees_what_it_needs_and_answers(site, client):
    assert client.study()["task"] == "Hop <far>"
    (task,), state = client.next()
    assert state == "open"
    assert [one.num_steps for one in task.segments] == [5, 5]
    assert b"ftyp" in client.clip(task.segments[0])
    numbers = client.numbers(task)
    assert len(numbers) == 2
    assert len(numbers[0]["observations"]) == 5
    assert client.answer(task, {"label": 1}, key="one", seconds=0.5)
    assert not client.answer(task, {"label": 1}, key="one")  # sent again, recorded once
    with pytest.raises(Refused, match="answered already"):
        client.answer(task, {"label": 0})


def test_a_wrong_token_is_refused(client):
    client._headers["Authorization"] = "Bearer wrong"
    with pytest.raises(Refused, match="not valid"):
        client.next()


def test_labelling_ends_with_the_run_that_asks(site, client):
    """While it may ask more the program waits; then it ends, though the study is open."""
    looks = []

    def tell(**changes):
        status = RunStatus(step=9, steps=9, num_asked=6, num_labelled=0, **changes)
        run = LiveRun(
            study_id=site.study.id, token="a", name="run", status=status, updated_at=time.time()
        )
        with site.database.writing() as connection:
            save_run(connection, run)

    def is_stopped():
        looks.append(client.next()[1])
        if looks.count("waiting") == 3:
            tell(is_asking=False, is_over=True)
        return len(looks) > 50

    tell(is_asking=True)
    number = label_until_finished(
        client, lambda *_: {"label": 0.5}, idle_seconds=0.01, is_stopped=is_stopped
    )
    assert number == 6
    assert looks[-2:] == ["waiting", "waiting"]
    assert client.next() == ([], "finished")


def test_labelling_goes_on_until_the_study_is_closed(site, client):
    def judge(_, task):
        return None if task.assignment == 2 else {"label": 0.5}

    done = threading.Event()

    def close():
        done.wait(20)
        with site.database.writing() as connection:
            set_state(connection, site.study.id, "closed")

    def is_stopped():
        with site.database.reading() as connection:
            if len(current_answers(connection, site.study.id)) == 6:
                done.set()
        return False

    thread = threading.Thread(target=close)
    thread.start()
    number = label_until_finished(
        client, judge, idle_seconds=0.02, is_stopped=is_stopped, stays=True
    )
    assert number == 6
    thread.join()
    with site.database.reading() as connection:
        answers = current_answers(connection, site.study.id)
    assert sorted(str(one.value) for one in answers) == ["None", *["{'label': 0.5}"] * 5]
    assert {one.annotator for one in answers} == {"robot"}
