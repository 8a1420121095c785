"""Encoders of images: the convolutions of DrQ-v2 (Yarats et al. 2022), as CPL's code has them."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor, nn

from pbrl.checks import check_fields
from pbrl.networks import EnsembleMLP, Linear, device_of, initialize
from pbrl.randomness import RandomSource
from pbrl.replay import Batch
from pbrl.segments import Segments

KERNEL = 3
STRIDES = (2, 1, 1, 1)
LEVELS = 255.0  # of a byte
IMAGES_IN_CACHE = 16  # on a CPU, images whose activations stay in the cache of a core


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Flat images to features; the defaults are those of CPL on images (Hejna et al. 2024).

    Attributes:
        image_shape: channels, height and width of an observation, which holds the bytes of an image
            in this order.
        num_filters: channels of each of the four convolutions.
        num_features: width of the trunk, a linear layer, a LayerNorm and a tanh in front of each
            perceptron.
        shift: augmentation: images are shifted by up to so many pixels either way, their border
            repeated, each segment as a whole; 0 leaves them. Their code shifts both segments of a
            pair alike.
    """

    image_shape: tuple[int, int, int] = (3, 64, 64)
    num_filters: int = 32
    num_features: int = 50
    shift: int = 4

    def __post_init__(self) -> None:
        smallest = min(self.feature_map)
        check_fields(
            self,
            ("image_shape", "large enough for four convolutions", smallest >= 1),
            ("num_filters", "at least 1", self.num_filters >= 1),
            ("num_features", "at least 1", self.num_features >= 1),
            ("shift", "0 or above", self.shift >= 0),
        )

    @property
    def feature_map(self) -> tuple[int, int]:
        """Height and width that the convolutions leave."""
        height, width = self.image_shape[1:]
        for stride in STRIDES:
            height, width = ((side - KERNEL) // stride + 1 for side in (height, width))
        return height, width


class Encoder(nn.Module):
    """Four convolutions with ReLU between bytes and features.

    Args:
        config: of the images.
        observation_dim: size of a flat observation, to be that of the images.
        generator: source of the initial parameters, which are made on its device; torch's global
            one when None.

    Raises:
        ValueError: if observations are not such images.
    """

    def __init__(
        self,
        config: EncoderConfig,
        observation_dim: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        size = math.prod(config.image_shape)
        if observation_dim != size:
            raise ValueError(
                f"observations of {observation_dim} numbers are not images of shape "
                f"{config.image_shape}, which have {size}"
            )
        self.config = config
        channels = (config.image_shape[0], *[config.num_filters] * len(STRIDES))
        layers: list[nn.Module] = []
        for inputs, outputs, stride in zip(channels, channels[1:], STRIDES, strict=False):
            layers += [nn.Conv2d(inputs, outputs, KERNEL, stride), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers).to(device_of(generator))
        for parameter in self.layers.parameters():
            if parameter.ndim > 1:
                gain = nn.init.calculate_gain("relu")
                nn.init.orthogonal_(parameter, gain, generator=generator)
            else:
                nn.init.zeros_(parameter)

    @property
    def num_outputs(self) -> int:
        """Number of features."""
        return self.config.num_filters * math.prod(self.config.feature_map)

    def forward(self, observations: Real[Tensor, "*batch obs"]) -> Float[Tensor, "*batch feature"]:
        """Return the features of flat images whose bytes lie in 0 to 255."""
        batch = observations.shape[:-1]
        images = observations.reshape(-1, *self.config.image_shape)
        size = IMAGES_IN_CACHE if images.device.type == "cpu" else max(1, len(images))
        parts = [self.layers(part / LEVELS - 0.5).flatten(1) for part in images.split(size)]
        return torch.cat(parts).view(*batch, -1)


def make_trunk(
    num_inputs: int, num_features: int, generator: torch.Generator | None = None
) -> nn.Sequential:
    """Return what narrows features in front of a perceptron, on the generator's device."""
    device = device_of(generator)
    linear = nn.utils.skip_init(Linear, num_inputs, num_features, device=device)
    initialize(linear.weight.data, linear.bias.data, "orthogonal", generator)
    return nn.Sequential(linear, nn.LayerNorm(num_features, device=device), nn.Tanh())


class TrunkedCritics(nn.Module):
    """Critics of features and actions behind one trunk, with the interface of the critics alone.

    Args:
        trunk: of the features.
        critics: of the trunk's outputs and the actions.
        num_features: how many of the inputs are features; the others are actions.
    """

    def __init__(self, trunk: nn.Module, critics: EnsembleMLP, num_features: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.critics = critics
        self.num_features = num_features

    def forward(self, inputs: Float[Tensor, "one batch in"]) -> Float[Tensor, "member batch out"]:
        """Return every critic's outputs for shared inputs, features first."""
        features, actions = inputs.tensor_split([self.num_features], -1)
        outputs: Tensor = self.critics(torch.cat([self.trunk(features), actions], -1))
        return outputs


def shift_segments(
    segments: Segments, config: EncoderConfig | None, generator: RandomSource
) -> Segments:
    """Return segments of images with each shifted as a whole; without a configuration as given."""
    if config is None or config.shift == 0:
        return segments
    observations = segments.observations
    offsets = _draw_offsets(observations.shape[:-2].numel(), config.shift, generator)
    flat = observations.reshape(len(offsets), -1, observations.shape[-1])
    shifted = shift_images(flat, config.image_shape, offsets).view_as(observations)
    return replace(segments, observations=shifted)


def shift_batch(batch: Batch, config: EncoderConfig | None, generator: RandomSource) -> Batch:
    """Return transitions of images with both images of each shifted alike."""
    if config is None or config.shift == 0:
        return batch
    offsets = _draw_offsets(len(batch.rewards), config.shift, generator)
    both = torch.stack([batch.observations, batch.next_observations], 1)
    observations, following = shift_images(both, config.image_shape, offsets).unbind(1)
    return replace(batch, observations=observations, next_observations=following)


def shift_each(
    observations: Real[Tensor, "batch obs"], config: EncoderConfig, generator: RandomSource
) -> Real[Tensor, "batch obs"]:
    """Return images that are each shifted by their own draw, as in DrQ-v2 (Yarats et al. 2022).

    Their code interpolates between pixels, at distances that are whole pixels: the same.
    """
    if config.shift == 0:
        return observations
    offsets = _draw_offsets(len(observations), config.shift, generator)
    return shift_images(observations[:, None], config.image_shape, offsets)[:, 0]


def _draw_offsets(number: int, largest: int, generator: RandomSource) -> Tensor:
    assert isinstance(generator, torch.Generator)  # images take no axis of seeds, see pbrl.seeds
    size = (number, 2)
    return torch.randint(-largest, largest + 1, size, generator=generator, device=generator.device)


def shift_images(
    observations: Real[Tensor, "sequence time obs"],
    image_shape: tuple[int, int, int],
    offsets: Int[Tensor, "sequence two"],
) -> Real[Tensor, "sequence time obs"]:
    """Return images of which pixel (y, x) is (y + dy, x + dx) of the given, the border repeated.

    Args:
        observations: flat images, of any type.
        image_shape: channels, height, width.
        offsets: (dy, dx) of each sequence.
    """
    _, height, width = image_shape
    rows, columns = (
        (torch.arange(side, device=offsets.device) + offset[:, None]).clamp(0, side - 1)
        for side, offset in ((height, offsets[:, 0]), (width, offsets[:, 1]))
    )
    pixels = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)  # [sequence, pixel]
    planes = observations.reshape(len(observations), -1, height * width)
    return planes.gather(2, pixels[:, None].expand_as(planes)).view_as(observations)
