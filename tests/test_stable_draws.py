import torch

from pbrl.stable_draws import stable_uniform


def test_first_numbers_of_splitmix64():
    # SplitMix64 seeded with 0 begins e220a8397b1dcdaf; seeded with 1, 910a2dec89025cc1.
    low = 2**53 - 1
    expected = [(0xE220A8397B1DCDAF & low) / 2**53, (0x910A2DEC89025CC1 & low) / 2**53]
    assert stable_uniform([torch.tensor([0, 1])]).tolist() == expected


def test_uniform_and_uncorrelated_in_neighbouring_keys():
    episode, start = torch.meshgrid(torch.arange(200), torch.arange(200), indexing="ij")
    drawn = stable_uniform([episode, start])
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert abs(drawn.mean() - 0.5) < 0.005
    assert abs(drawn.std() - 12**-0.5) < 0.005
    for neighbour in (drawn[1:, :], drawn[:, 1:]):
        pairs = torch.stack([drawn[: len(neighbour), : neighbour.shape[1]], neighbour]).flatten(1)
        assert torch.corrcoef(pairs)[0, 1].abs() < 0.02
    assert drawn.unique().numel() == drawn.numel()


def test_depends_on_the_keys_and_their_order_alone():
    first, second = torch.arange(50), torch.arange(50).flip(0)
    whole = stable_uniform([first, second])
    assert torch.equal(stable_uniform([first[10:], second[10:]]), whole[10:])
    assert not torch.equal(stable_uniform([second, first]), whole)


def test_keys_broadcast():
    drawn = stable_uniform([torch.arange(4)[:, None], torch.arange(3)])
    assert drawn.shape == (4, 3)
    assert drawn[2, 1] == stable_uniform([torch.tensor([2]), torch.tensor([1])])[0]
