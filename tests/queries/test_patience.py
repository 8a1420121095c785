import pytest

from pbrl.queries.patience import Patience, PatienceConfig


def make(max_steps=100, **config):
    return Patience(PatienceConfig(**config), max_steps)


def test_nobody_waits_for_a_teacher_who_answers_at_once():
    patience = make(max_open=1)
    patience.num_owed = 500
    assert patience.lets_ask
    patience.num_owed = 0
    patience.note(10, 0, num_new=500)
    assert not patience.is_over(10**9)


def test_a_session_waits_until_enough_is_answered():
    patience = make(max_open=30)
    patience.note(0, 20)
    patience.num_owed = 20
    assert not patience.lets_ask
    assert patience.is_over(1)
    patience.note(1, 10, num_new=10)
    assert patience.lets_ask


def test_a_run_goes_on_while_a_session_waits_for_episodes():
    patience = make(max_open=30)
    patience.note(0, 20)
    patience.num_owed = 10
    assert patience.lets_ask
    assert not patience.is_over(1)


def test_the_run_waits_when_labels_stay_away():
    patience = make(max_steps=100, labels_per_session=5)
    patience.note(1_000, 20)
    assert not patience.is_over(1_099)
    assert patience.is_over(1_100)
    patience.note(1_100, 16, num_new=4)  # too few to learn from: it goes on waiting
    assert not patience.is_enough
    assert patience.is_over(1_100)
    patience.note(1_100, 15, num_new=1)
    assert patience.is_enough
    patience.note(1_100, 15, learned=True)
    assert not patience.is_over(1_199)
    assert patience.is_over(1_200)


def test_asking_more_does_not_put_the_wait_off():
    patience = make(max_steps=100)
    patience.note(0, 20)
    patience.note(90, 40)
    assert patience.is_over(100)


def test_the_last_labels_are_enough_however_few():
    patience = make(labels_per_session=10)
    patience.note(5, 1, num_new=3)
    assert not patience.is_enough
    patience.note(6, 0, num_new=1)
    assert patience.is_enough
    assert not patience.is_over(10**9)


def test_skips_alone_are_nothing_to_learn_from_and_nothing_to_wait_for():
    patience = make()
    patience.note(5, 2)
    patience.note(6, 0, num_new=0)
    assert not patience.is_enough
    assert not patience.is_over(10**9)


def test_looks_now_and_then_and_always_while_it_waits():
    patience = make(poll_every=100)
    assert not patience.looks(99, 1)
    assert patience.looks(100, 1)
    assert patience.looks(105, 8)
    assert patience.looks(50, 0)


def test_goes_on_where_it_was():
    patience = make(max_steps=100)
    patience.note(40, 7, num_new=3)
    patience.num_owed = 4
    again = make(max_steps=100)
    again.load_state_dict(patience.state_dict(), 7)
    assert vars(again) == vars(patience) | {"config": again.config}


def test_limits_that_cannot_be_are_refused():
    for changes in ({"max_open": 0}, {"max_steps": 0}, {"poll_seconds": 0.0}, {"poll_every": 0}):
        with pytest.raises(ValueError, match=next(iter(changes))):
            PatienceConfig(**changes)
