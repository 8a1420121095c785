"""Multi-layer perceptrons, alone and as ensembles whose members are a leading tensor axis.

Parameters may have one more axis in front, of seeds that are trained at once (`pbrl.seeds`); inputs
and outputs then have it too.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pbrl.dropout import Dropout
from pbrl.linear import MINIMUM_WORK, linear

LEAKY_SLOPE = 0.01


class EnsembleLinear(nn.Module):
    """One linear layer per member, all computed by a single batched product.

    Attributes:
        weight: `[*seed, member, in, out]`.
        bias: `[*seed, member, 1, out]`.
    """

    def __init__(
        self,
        num_members: int,
        num_inputs: int,
        num_outputs: int,
        *,
        initialization: str = "torch",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if min(num_members, num_inputs, num_outputs) < 1:
            raise ValueError(
                "num_members, num_inputs and num_outputs must be positive, got "
                f"{num_members}, {num_inputs}, {num_outputs}"
            )
        device = device_of(generator)
        self.weight = nn.Parameter(torch.empty(num_members, num_inputs, num_outputs, device=device))
        self.bias = nn.Parameter(torch.empty(num_members, 1, num_outputs, device=device))
        for weight, bias in zip(self.weight.data, self.bias.data, strict=True):
            initialize(weight.T, bias, initialization, generator)

    def forward(
        self, inputs: Float[Tensor, "*seed member_or_one batch in"]
    ) -> Float[Tensor, "*seed member batch out"]:
        """Apply each member to its own inputs, or to shared ones when their axis has size 1."""
        # An axis of 1 is expanded with stride 0: shared inputs are never copied per member.
        shared = inputs.expand(*self.weight.shape[:-2], -1, -1)
        return linear(shared, self.weight, self.bias)


class Linear(nn.Linear):
    """torch's linear layer, computed by `pbrl.linear`."""

    def forward(self, input: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        """Apply the layer to the last axis."""
        if not torch.is_grad_enabled() and _is_small(input, self.weight):
            return F.linear(input, self.weight, self.bias)
        weight, bias = self.weight.mT, self.bias.unsqueeze(-2)
        if input.ndim == weight.ndim:  # an activation in place on a view would cost copies
            return linear(input, weight, bias)
        rows = input.reshape(*weight.shape[:-2], -1, self.in_features)
        outputs = linear(rows, weight, bias)
        return outputs.view(*input.shape[:-1], self.out_features)


class EnsembleMLP(nn.Module):
    """Perceptrons of equal shape with own parameters, evaluated in one pass.

    Args:
        num_members: number of networks.
        sizes: width of the inputs, of each hidden layer, and of the outputs.
        activation: between layers; see `make_activation`.
        output_activation: after the last layer.
        initialization: see `initialize`.
        generator: source of the initial parameters, which are made on its device; torch's global
            one when None.
    """

    def __init__(
        self,
        num_members: int,
        sizes: Sequence[int],
        *,
        activation: str = "relu",
        output_activation: str = "identity",
        initialization: str = "torch",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()

        def layer(num_inputs: int, num_outputs: int) -> nn.Module:
            return EnsembleLinear(
                num_members,
                num_inputs,
                num_outputs,
                initialization=initialization,
                generator=generator,
            )

        self.num_inputs = sizes[0]
        self.layers = _stack(layer, sizes, activation, output_activation)

    @property
    def num_seed_axes(self) -> int:
        """1 where the parameters are those of several seeds, otherwise 0."""
        return next(self.parameters()).ndim - 3

    def forward(
        self, inputs: Float[Tensor, "*seed member_or_one batch in"]
    ) -> Float[Tensor, "*seed member batch out"]:
        """Return every member's outputs; an axis of size 1 is shared by all members."""
        outputs: Tensor = self.layers(inputs)
        return outputs


def mlp(
    sizes: Sequence[int],
    *,
    activation: str = "relu",
    output_activation: str = "identity",
    dropout: float = 0.0,
    initialization: str = "torch",
    generator: torch.Generator | None = None,
) -> nn.Sequential:
    """Return one perceptron; the arguments are those of `EnsembleMLP`, and dropout.

    `dropout` is the share of each hidden layer that is dropped in training mode, between the linear
    layer and its activation; the generator draws it too.
    """

    def layer(num_inputs: int, num_outputs: int) -> nn.Module:
        device = device_of(generator)
        single: Linear = nn.utils.skip_init(Linear, num_inputs, num_outputs, device=device)
        initialize(single.weight.data, single.bias.data, initialization, generator)
        return single

    thin = partial(Dropout, dropout, generator) if dropout else None
    return _stack(layer, sizes, activation, output_activation, thin)


@torch.no_grad()
def initialize(
    weight: Float[Tensor, "out in"],
    bias: Float[Tensor, "*one out"],
    initialization: str,
    generator: torch.Generator | None = None,
) -> None:
    """Fill the parameters of one linear layer in place.

    Args:
        weight: `[out, in]`, in torch's layout.
        bias: any shape with `out` elements.
        initialization: "torch" draws both uniformly within plus or minus 1 / sqrt(in), the default
            of `nn.Linear`; "orthogonal" draws an orthogonal weight with gain 1 and a zero bias, as
            the SAC of B-Pref (Lee et al. 2021).
        generator: source of the numbers; torch's global one when None.
    """
    match initialization:
        case "torch":
            bound = weight.shape[1] ** -0.5
            weight.uniform_(-bound, bound, generator=generator)
            bias.uniform_(-bound, bound, generator=generator)
        case "orthogonal":
            nn.init.orthogonal_(weight, generator=generator)
            bias.zero_()
        case _:
            raise ValueError(
                f'initialization must be "torch" or "orthogonal", got "{initialization}"'
            )


@torch.no_grad()
def move_towards(target: nn.Module, source: nn.Module, rate: float) -> None:
    """Move the parameters of a network towards those of its twin: one Polyak step.

    Args:
        target: changed in place.
        source: of the same shape.
        rate: share of the way, in (0, 1].
    """
    targets: list[Tensor] = list(target.parameters())
    torch._foreach_lerp_(targets, list(source.parameters()), rate)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Let gradients pass through `module` without computing those of its parameters."""
    module.requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        module.requires_grad_(requires_grad=True)


def device_of(generator: torch.Generator | None) -> torch.device:
    """Return where parameters drawn by a generator are made; torch's default when None."""
    return torch.get_default_device() if generator is None else generator.device


def make_activation(name: str) -> nn.Module:
    """Return an activation: relu, leaky_relu (slope 0.01), mish, tanh, sigmoid or identity.

    The first two overwrite their input, which saves a pass over memory; here that is always the
    fresh output of a linear layer.
    """
    match name:
        case "relu":
            return nn.ReLU(inplace=True)
        case "leaky_relu":
            return nn.LeakyReLU(LEAKY_SLOPE, inplace=True)
        case "mish":
            return nn.Mish()
        case "tanh":
            return nn.Tanh()
        case "sigmoid":
            return nn.Sigmoid()
        case "identity":
            return nn.Identity()
        case _:
            raise ValueError(
                "activation must be one of relu, leaky_relu, mish, tanh, sigmoid, identity, got "
                f'"{name}"'
            )


def _is_small(inputs: Tensor, weight: Tensor) -> bool:
    """Return whether `linear` would come to torch's operator, to the bit.

    The way there takes as long as a product of few rows, which acting consists of.
    """
    is_small = inputs.numel() * weight.shape[0] < MINIMUM_WORK and inputs.is_contiguous()
    return is_small and weight.ndim == 2 and inputs.device.type == "cpu"  # noqa: PLR2004


def _stack(
    layer: Callable[[int, int], nn.Module],
    sizes: Sequence[int],
    activation: str,
    output_activation: str,
    dropout: Callable[[], nn.Module] | None = None,
) -> nn.Sequential:
    """Return layers of the given sizes with activations between them and after the last."""
    shapes = list(pairwise(sizes))
    if not shapes:
        raise ValueError(f"sizes must name inputs and outputs, got {list(sizes)}")
    parts: list[nn.Module] = []
    for depth, (num_inputs, num_outputs) in enumerate(shapes, start=1):
        is_last = depth == len(shapes)
        parts.append(layer(num_inputs, num_outputs))
        if dropout is not None and not is_last:
            parts.append(dropout())
        parts.append(make_activation(output_activation if is_last else activation))
    return nn.Sequential(*parts)
