"""Linear layers on the fastest float32 product that torch offers on a CPU.

torch sends float32 products to MKL, which keeps to AVX2 on processors of other makers than its own.
oneDNN, in the same torch, uses what the processor has: on an AMD EPYC with AVX-512 it multiplies
512 rows by 256 x 256 in half the time, at the same precision. Nothing else reaches it for float32,
so the operator that torch's compiler emits is called here; where it is missing, and for products
too small to repay its start of about ten microseconds, torch's own product serves.

On request (`matmul_precision`) the large products round their factors and results to bfloat16,
which doubles their rate on processors with AVX512-BF16; sums run in float32 inside, and parameters,
biases, narrow layers and everything else stay float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

# Multiply-adds, and shortest side, from which oneDNN wins; measured on an AMD EPYC, one thread.
MINIMUM_WORK = 2**19
MINIMUM_SIDE = 8

Precision = Literal["float32", "bfloat16"]
"""Of large products."""

_namespace = torch.ops.mkldnn if torch.backends.mkldnn.is_available() else None
_onednn_linear = getattr(_namespace, "_linear_pointwise", None)


_precision: Precision = "float32"  # a global, for derivatives run in threads of their own


@contextmanager
def matmul_precision(precision: Precision) -> Iterator[None]:
    """Compute large products at a precision for a while.

    Raises:
        ValueError: if there is no such precision.
    """
    global _precision  # noqa: PLW0603
    check_precision(precision)
    before, _precision = _precision, precision
    try:
        yield
    finally:
        _precision = before


def check_precision(precision: str) -> None:
    """Refuse a precision that there is not.

    Raises:
        ValueError: naming it.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be {' or '.join(get_args(Precision))}, got {precision!r}")


def linear(
    inputs: Float[Tensor, "*member batch in"],
    weight: Float[Tensor, "*member in out"],
    bias: Float[Tensor, "*member one out"] | None = None,
) -> Float[Tensor, "*member batch out"]:
    """Return `inputs @ weight + bias`, for one layer or for one per member, of one seed or many.

    Differentiable any number of times. A member axis of stride 0 (`Tensor.expand`) is not copied.
    The weight may be a transposed view, such as that of `nn.Linear`; its gradient then has the
    same layout.
    """
    if inputs.device.type != "cpu" and _precision == "bfloat16":
        product = (inputs.bfloat16() @ weight.bfloat16()).to(inputs.dtype)
        return product if bias is None else product + bias
    is_plain = _onednn_linear is None or inputs.device.type != "cpu"
    # torch's compiler takes oneDNN's operator with constant weights alone.
    if is_plain or inputs.dtype != torch.float32 or torch.compiler.is_compiling():
        return _plain(inputs, weight, bias)
    if not torch.is_grad_enabled():
        return _product(inputs, weight, bias)
    outputs: Tensor = _Linear.apply(inputs, weight, bias)
    return outputs


class _Linear(torch.autograd.Function):
    """The product with its derivatives, which are such products again."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        needs_inputs, needs_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(inputs if needs_weight else None, weight if needs_inputs else None)
        ctx.transposed = weight.stride(-2) < weight.stride(-1)
        return _product(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        inputs, weight = ctx.saved_tensors
        by_inputs = None if weight is None else linear(gradient, weight.mT)
        by_weight = None
        if inputs is not None and ctx.transposed:
            by_weight = linear(gradient.mT, inputs).mT
        elif inputs is not None:
            by_weight = linear(inputs.mT, gradient)
        by_bias = gradient.sum(-2, keepdim=True) if ctx.needs_input_grad[2] else None
        return by_inputs, by_weight, by_bias


def _product(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply by the fastest way for the shapes, without derivatives."""
    sides = (inputs.shape[-2], *weight.shape[-2:])
    is_narrow = min(sides) < MINIMUM_SIDE
    is_small = is_narrow or sides[0] * sides[1] * sides[2] < MINIMUM_WORK
    multiply = _plain if is_small else _onednn
    if inputs.ndim == 2:  # noqa: PLR2004
        return multiply(inputs, weight, bias)
    if is_small and not is_narrow:
        return _plain(inputs, weight, bias)
    # oneDNN's operator has no batched form, and MKL's takes up to 70 times as long for narrow
    # matrices as its products one by one.
    products = [multiply(*part) for part in _matrices(inputs, weight, bias)]
    # A shape changed in place, unlike a view, lets an activation overwrite the result.
    if len(products) == 1:
        return products[0].resize_(*inputs.shape[:-1], weight.shape[-1])
    outputs = inputs.new_empty(*inputs.shape[:-1], weight.shape[-1])
    torch.stack(products, out=outputs.view(len(products), *outputs.shape[-2:]))
    return outputs


def _matrices(
    inputs: Tensor, weight: Tensor, bias: Tensor | None
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Return the factors of each product; members that share their inputs are not copied."""
    if inputs.ndim == 2:  # noqa: PLR2004
        return iter([(inputs, weight, bias)])
    biases = [None] * len(inputs) if bias is None else bias.unbind()
    leading = zip(inputs.unbind(), weight.unbind(), biases, strict=True)
    return chain.from_iterable(_matrices(*part) for part in leading)


def _onednn(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    assert _onednn_linear is not None  # `linear` looked
    if _precision == "bfloat16":
        rounded = (inputs.bfloat16(), weight.mT.bfloat16())
        product: Tensor = _onednn_linear(*rounded, None, "none", [], "").float()
        return product if bias is None else product.add_(bias)
    vector = None if bias is None else bias.squeeze(0)
    outputs: Tensor = _onednn_linear(inputs, weight.mT, vector, "none", [], "")
    return outputs


def _plain(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply with torch's own product."""
    if bias is None:
        return inputs @ weight
    if inputs.ndim == 2:  # noqa: PLR2004
        return torch.addmm(bias.squeeze(0), inputs, weight)
    if inputs.ndim == 3:  # noqa: PLR2004
        return torch.baddbmm(bias, inputs, weight)
    return inputs @ weight + bias
