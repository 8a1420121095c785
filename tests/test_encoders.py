import math

import pytest
import torch
from torch import Tensor

from pbrl.encoders import (
    Encoder,
    EncoderConfig,
    TrunkedCritics,
    make_trunk,
    shift_batch,
    shift_images,
    shift_segments,
)
from pbrl.networks import EnsembleMLP
from pbrl.replay import Batch
from pbrl.segments import Segments

SMALL = EncoderConfig(image_shape=(1, 16, 16), num_filters=4, num_features=6, shift=2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bytes_of(*shape: int) -> Tensor:
    return torch.randint(256, shape, generator=generator(), dtype=torch.uint8)


def test_the_papers_images_give_twenty_thousand_features():
    config = EncoderConfig()
    encoder = Encoder(config, 3 * 64 * 64, generator())
    assert config.feature_map == (25, 25)
    assert encoder.num_outputs == 20_000
    assert encoder(bytes_of(2, 3, 3 * 64 * 64)).shape == (2, 3, 20_000)


def test_a_pixel_is_scaled_before_the_first_convolution():
    encoder = Encoder(EncoderConfig(image_shape=(1, 15, 15), num_filters=1), 225, generator())
    for layer in encoder.layers[::2]:
        layer.weight.data.fill_(1 / 9)  # each convolution averages
        layer.bias.data.fill_(0.0)
    images = torch.tensor([[255] * 225, [204] * 225, [51] * 225], dtype=torch.uint8)
    features = encoder(images)
    assert features.shape == (3, 1)
    torch.testing.assert_close(features[:, 0], torch.tensor([0.5, 0.3, 0.0]))  # ReLU of -0.3


def test_initial_convolutions_are_orthogonal_with_the_gain_of_a_relu():
    encoder = Encoder(SMALL, 256, generator())
    weight = encoder.layers[2].weight.flatten(1)  # [out, in]
    torch.testing.assert_close(weight @ weight.T, 2 * torch.eye(4), rtol=0, atol=1e-5)
    assert all(float(layer.bias.detach().abs().sum()) == 0 for layer in encoder.layers[::2])
    same, other = Encoder(SMALL, 256, generator()), Encoder(SMALL, 256, generator(1))
    assert torch.equal(encoder.layers[0].weight, same.layers[0].weight)
    assert not torch.equal(encoder.layers[0].weight, other.layers[0].weight)


def test_observations_that_are_no_such_images_are_refused():
    with pytest.raises(ValueError, match=r"observations of 35 .* images of shape \(1, 16, 16\)"):
        Encoder(SMALL, 35, generator())


def test_a_shift_by_hand():
    image = torch.arange(9, dtype=torch.uint8).expand(2, 1, 9).contiguous()
    shifted = shift_images(image, (1, 3, 3), torch.tensor([[1, 0], [0, -1]]))
    # Down by one: the lowest row is repeated. Left by one: so is the left column.
    assert shifted[0, 0].tolist() == [3, 4, 5, 6, 7, 8, 6, 7, 8]
    assert shifted[1, 0].tolist() == [0, 0, 1, 3, 3, 4, 6, 6, 7]
    assert shifted.dtype == torch.uint8
    large = shift_images(image, (1, 3, 3), torch.tensor([[9, 9], [-9, -9]]))
    assert large[:, 0].unique(dim=1).tolist() == [[8], [0]]


def test_a_shift_is_that_of_padding_and_cropping():
    images = bytes_of(5, 2, 3 * 8 * 8)
    offsets = torch.tensor([[-4, 4], [0, 0], [3, -1], [4, 4], [-2, -3]])
    planes = images.view(10, 3, 8, 8).float()
    padded = torch.nn.functional.pad(planes, (4, 4, 4, 4), "replicate").view(5, 2, 3, 16, 16)
    pairs = zip(padded, offsets, strict=True)
    expected = torch.stack(
        [one[..., 4 + dy : 12 + dy, 4 + dx : 12 + dx] for one, (dy, dx) in pairs]
    )
    shifted = shift_images(images, (3, 8, 8), offsets)
    assert torch.equal(shifted.float(), expected.reshape(5, 2, -1))


def test_a_segment_shifts_as_a_whole_and_segments_apart():
    still = bytes_of(256).expand(20, 2, 3, 256)
    mask = torch.ones(20, 2, 3, dtype=torch.bool)
    segments = Segments(still, torch.zeros(20, 2, 3, 1), mask, torch.zeros(20, 2, 3))
    moved = shift_segments(segments, SMALL, generator()).observations
    assert torch.equal(moved[:, :, 0], moved[:, :, 2])
    assert len(moved[:, :, 0].reshape(40, -1).unique(dim=0)) > 10  # of 25 places
    assert not torch.equal(moved[:, 0, 0], moved[:, 1, 0])
    assert torch.equal(shift_segments(segments, SMALL, generator()).observations, moved)
    assert shift_segments(segments, None, generator()) is segments
    never = EncoderConfig(image_shape=(1, 16, 16), shift=0)
    assert shift_segments(segments, never, generator()) is segments


def test_both_images_of_a_transition_shift_alike():
    still = bytes_of(256).expand(10, 256)
    batch = Batch(still, torch.zeros(10, 1), torch.zeros(10), still.clone(), torch.zeros(10))
    moved = shift_batch(batch, SMALL, generator())
    assert torch.equal(moved.observations, moved.next_observations)
    assert len(moved.observations.unique(dim=0)) > 3


def test_trunked_critics_see_actions_as_they_are():
    critics = EnsembleMLP(2, (6 + 3, 8, 1), generator=generator())
    trunk = make_trunk(20, 6, generator())
    both = TrunkedCritics(trunk, critics, 20)
    features, actions = torch.randn(5, 20), torch.rand(5, 3)
    expected = critics(torch.cat([trunk(features), actions], -1)[None])
    torch.testing.assert_close(both(torch.cat([features, actions], -1)[None]), expected)
    assert sum(p.numel() for p in trunk.parameters()) == 20 * 6 + 6 + 2 * 6


@pytest.mark.parametrize(
    "wrong", [{"image_shape": (3, 8, 64)}, {"num_filters": 0}, {"num_features": 0}, {"shift": -1}]
)
def test_illegal_settings_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        EncoderConfig(**wrong)


def test_features_are_those_of_a_plain_convolution():
    encoder = Encoder(SMALL, 256, generator())
    images = bytes_of(3, 256)
    expected = images.float().view(3, 1, 16, 16) / 255 - 0.5
    for layer in encoder.layers:
        expected = layer(expected)
    torch.testing.assert_close(encoder(images), expected.flatten(1))
    assert math.prod(expected.shape[1:]) == encoder.num_outputs
