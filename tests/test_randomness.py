import torch

from pbrl.randomness import Generators, derived_seed


def test_same_seed_same_numbers_and_purposes_differ():
    first, second = Generators(7, ["a", "b"]), Generators(7, ["a", "b"])
    a, b = (torch.rand(4, generator=first[name]) for name in "ab")
    torch.testing.assert_close(a, torch.rand(4, generator=second["a"]), rtol=0, atol=0)
    assert not torch.equal(a, b)


def test_state_round_trip_continues_the_stream():
    generators = Generators(0, ["a"])
    torch.rand(3, generator=generators["a"])
    state = generators.state_dict()
    expected = torch.rand(5, generator=generators["a"])
    other = Generators(99, ["a"])
    other.load_state_dict(state)
    assert torch.equal(torch.rand(5, generator=other["a"]), expected)


def test_derived_seeds_differ_by_key():
    assert len({derived_seed(0, 1), derived_seed(0, 2), derived_seed(1, 1), derived_seed(0)}) == 4
