import random

import pytest

from pbrl.queries.human.http import Refused, Retries, Unreachable, send

from .served import stand_in

QUICK = Retries(attempts=4, first_pause=0.01, longest_pause=0.02, timeout=5.0)


def test_what_comes_back():
    with stand_in(lambda path, body, headers: (200, {}, [path, body, headers["X-One"]])) as url:
        sent = send("POST", f"{url}/a?b=1", {"c": None}, headers={"X-One": "1"}, retries=QUICK)
    assert (sent.status, sent.body) == (200, b'["/a?b=1", {"c": null}, "1"]')


@pytest.mark.parametrize("status", [429, 500, 503])
def test_it_tries_again_until_the_server_answers(status):
    statuses = [status, status, 200]
    with stand_in(lambda *_: (statuses.pop(0), {"Retry-After": "0"}, {})) as url:
        assert send("GET", url, retries=QUICK).status == 200
    assert statuses == []


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422])
def test_a_refusal_is_final_and_says_why(status):
    calls = []

    def refuse(*_):
        calls.append(1)
        return status, {}, {"detail": "no such thing"}

    with stand_in(refuse) as url, pytest.raises(Refused, match="no such thing") as refused:
        send("GET", url, retries=QUICK)
    assert (refused.value.status, len(calls)) == (status, 1)


def test_half_a_response_is_none():
    """As when the server dies while it answers; reading a number of bytes would not notice."""
    calls = []

    def respond(*_):
        calls.append(1)
        headers = {"Content-Length": "1000"} if len(calls) == 1 else {}
        return 200, headers | {"Connection": "close"}, {"whole": True}

    with stand_in(respond) as url:
        assert send("GET", url, retries=QUICK).body == b'{"whole": true}'
    assert len(calls) == 2


def test_in_the_end_it_gives_up():
    busy = stand_in(lambda *_: (503, {}, {"detail": "busy"}))
    with busy as url, pytest.raises(Unreachable, match="4 times: 503"):
        send("GET", url, retries=QUICK)
    with pytest.raises(Unreachable):
        send("GET", url, retries=QUICK)  # nobody listens any more


def test_pauses_grow_and_the_server_may_ask_for_longer_ones():
    retries, rng = Retries(first_pause=1.0, longest_pause=10.0), random.Random(0)
    for attempt, longest in ((0, 1.0), (1, 2.0), (3, 8.0), (4, 10.0), (60, 10.0)):
        assert longest / 2 <= retries.pause(attempt, 0.0, rng) <= longest
    assert retries.pause(0, 7.0, rng) == 7.0


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a", "a"])
def test_other_addresses_are_refused(url):
    with pytest.raises(ValueError, match="http"):
        send("GET", url, retries=QUICK)


def test_impossible_retries_are_refused():
    for changes in ({"attempts": 0}, {"timeout": 0.0}, {"first_pause": -1.0}):
        with pytest.raises(ValueError, match=next(iter(changes))):
            Retries(**changes)
