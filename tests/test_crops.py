import pytest
import torch

from pbrl.crops import CropConfig, Crops, crop_sums, draw_crops, whole_segments


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_sums_by_hand():
    values = torch.tensor([[[1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0]]])
    crops = Crops(torch.tensor([[[0, 1], [2, 0]]]), torch.tensor([[[2, 3], [4, 2]]]))
    expected = torch.tensor([[[3.0, 5.0], [70.0, 30.0]]])
    torch.testing.assert_close(crop_sums(values, crops), expected)


def test_sums_and_gradients_equal_those_of_slices():
    lengths = torch.tensor([[50, 50], [50, 44], [38, 50]])
    crops = draw_crops(CropConfig(num_crops=4), lengths, generator())
    values = torch.randn(3, 2, 50, generator=generator(1), requires_grad=True)
    sums = crop_sums(values, crops)
    sums.square().sum().backward()
    by_sums, values.grad = values.grad, None
    slices = torch.stack(
        [
            values[query, side, crops.start[query, side, crop] : crops.end[query, side, crop]].sum()
            for query in range(3)
            for side in range(2)
            for crop in range(4)
        ]
    ).view(3, 2, 4)
    slices.square().sum().backward()
    torch.testing.assert_close(sums, slices)
    torch.testing.assert_close(by_sums, values.grad)


def test_whole_segments_leave_padding_out():
    values = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 99.0]]])
    sums = crop_sums(values, whole_segments(torch.tensor([[3, 2]])))
    torch.testing.assert_close(sums, torch.tensor([[[6.0], [9.0]]]))


def test_lengths_are_common_and_uniform_and_starts_independent():
    lengths = torch.full((2000, 2), 50)
    crops = draw_crops(CropConfig(), lengths, generator())
    size = crops.end - crops.start
    assert torch.equal(size[:, 0], size[:, 1])
    counts = torch.bincount(size[:, 0].flatten())
    assert counts.nonzero()[:, 0].tolist() == list(range(35, 46))  # every length, none else
    assert (counts[35:] / counts.sum() - 1 / 11).abs().max() < 0.005
    assert crops.start.min() == 0
    assert crops.end.max() == 50
    starts = (crops.start / (50 - size)).flatten(2).transpose(0, 1).flatten(1)
    assert starts.mean().item() == pytest.approx(0.5, abs=0.01)
    assert torch.corrcoef(starts)[0, 1].abs() < 0.02


def test_coverage_matches_the_sheet():
    # H = 50, lengths 35 to 45: step 0 is kept in 0.0998 of the crops, 5 in 0.5986, 10 in 0.9063.
    crops = draw_crops(CropConfig(), torch.full((10_000, 2), 50), generator())
    for step, expected in ((0, 0.0998), (5, 0.5986), (10, 0.9063), (25, 1.0), (49, 0.0998)):
        kept = (crops.start <= step) & (step < crops.end)
        assert kept.float().mean().item() == pytest.approx(expected, abs=0.005)


def test_surf_crops_of_a_longer_window():
    config = CropConfig(num_crops=1)
    crops = draw_crops(config, torch.full((3000, 2), 60), generator())
    size = crops.end - crops.start
    assert (size.min(), size.max()) == (45, 55)
    assert crops.end.max() == 60


def test_unequal_and_short_segments():
    lengths = torch.tensor([[50, 44], [3, 50]]).repeat(500, 1)
    crops = draw_crops(CropConfig(), lengths, generator())
    size = crops.end - crops.start
    assert torch.equal(size[:, 0], size[:, 1])
    assert (size[::2].min(), size[::2].max()) == (29, 39)
    assert (size[1::2] == 1).all()
    assert (crops.start >= 0).all()
    assert (crops.end <= lengths[..., None]).all()


def test_same_generator_same_crops():
    lengths = torch.full((5, 2), 50)
    one, same, other = (draw_crops(CropConfig(), lengths, generator(s)) for s in (0, 0, 1))
    assert torch.equal(one.start, same.start)
    assert torch.equal(one.end, same.end)
    assert not torch.equal(one.start, other.start)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_crops": 0}, "num_crops must be at least 1"),
        ({"min_cut": 6, "max_cut": 5}, "0 <= min_cut <= max_cut, got 6 and 5"),
        ({"min_cut": -1}, "0 <= min_cut"),
    ],
)
def test_bad_configurations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CropConfig(**arguments)
