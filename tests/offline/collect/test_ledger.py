from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.offline.collect.ledger import Ledger


def test_episodes_are_handed_out_in_order_until_there_are_enough():
    ledger = Ledger(3, counts_steps=False, found={1: 7})
    assert [ledger.next_number() for _ in range(3)] == [0, 2, None]
    ledger.add(2, 5)
    assert (ledger.done, ledger.chosen()) == (2, [1, 2])
    ledger.add(0, 4)
    assert (ledger.done, ledger.chosen()) == (3, [0, 1, 2])


def test_an_empty_episode_is_replaced():
    ledger = Ledger(2, counts_steps=False, found={})
    assert [ledger.next_number() for _ in range(3)] == [0, 1, None]
    ledger.add(0, 0)
    assert ledger.next_number() == 2
    ledger.add(1, 3)
    ledger.add(2, 3)
    assert ledger.next_number() is None
    assert ledger.chosen() == [1, 2]


def test_the_episode_that_reaches_the_steps_is_the_last():
    ledger = Ledger(10, counts_steps=True, found={0: 4, 1: 5, 2: 3, 3: 9})
    assert ledger.next_number() is None
    assert ledger.chosen() == [0, 1, 2]
    assert ledger.done == 10


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, 9), min_size=60, max_size=60),
    st.integers(1, 40),
    st.booleans(),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_the_choice_does_not_depend_on_the_order_of_completion(
    lengths, budget, counts_steps, num_envs, order
):
    lengths = [*lengths, *[5] * 60]

    def collect(num_envs):
        ledger = Ledger(budget, counts_steps=counts_steps, found={})
        running = [ledger.next_number() for _ in range(num_envs)]
        while any(number is not None for number in running):
            place = order.choice([k for k, number in enumerate(running) if number is not None])
            ledger.add(running[place], lengths[running[place]])
            running = [ledger.next_number() if k == place or n is None else n
                       for k, n in enumerate(running)]  # fmt: skip
        return ledger.chosen()

    alone = collect(1)
    assert collect(num_envs) == alone
    total = sum(lengths[k] if counts_steps else 1 for k in alone)
    assert total >= budget
