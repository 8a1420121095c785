import pytest
import torch

import pbrl.linear
from pbrl.linear import check_precision, linear, matmul_precision


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_linear_by_hand():
    inputs = torch.tensor([[1.0, 2.0]])
    weight = torch.tensor([[3.0, -1.0], [0.5, 4.0]])
    outputs = linear(inputs, weight, torch.tensor([[10.0, 20.0]]))
    torch.testing.assert_close(outputs, torch.tensor([[14.0, 27.0]]))


# Both sides of the limits: small and narrow products are torch's, large ones oneDNN's.
SHAPES = [(0, 3, 5), (2, 3, 5), (300, 200, 1), (1, 300, 300), (64, 128, 96), (200, 20, 256)]


@pytest.mark.parametrize("members", [(), (1,), (3,), (2, 3), (2, 1)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_bias", [True, False])
def test_values_and_gradients_equal_torchs_own_product(members, shape, with_bias):
    rows, num_inputs, num_outputs = shape
    axis = members
    inputs = draw(*axis, rows, num_inputs)
    weight = draw(*axis, num_inputs, num_outputs, seed=1) / num_inputs**0.5
    bias = draw(*axis, 1, num_outputs, seed=2)
    tensors = [inputs, weight, bias] if with_bias else [inputs, weight]
    ours = [tensor.clone().requires_grad_() for tensor in tensors]
    plain = [tensor.clone().requires_grad_() for tensor in tensors]
    outputs = linear(*ours)
    expected = plain[0] @ plain[1] + (plain[2] if with_bias else 0.0)
    torch.testing.assert_close(outputs, expected)
    outputs.sin().mean().backward()
    expected.sin().mean().backward()
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    with torch.no_grad():
        assert torch.equal(linear(*ours), outputs)


def test_a_shared_input_of_stride_zero_collects_the_gradients_of_all_members():
    inputs = draw(1, 128, 64).requires_grad_()
    weight = draw(2, 64, 96, seed=1)
    linear(inputs.expand(2, -1, -1), weight).sum().backward()
    torch.testing.assert_close(inputs.grad, weight.sum((0, 2)).expand(1, 128, 64))


def test_the_gradient_keeps_the_layout_of_a_transposed_weight():
    weight = draw(96, 64).requires_grad_()
    linear(draw(128, 64, seed=1), weight.T).square().sum().backward()
    assert weight.grad.stride() == weight.stride()


def test_second_derivatives_by_hand():
    # f = sum (x w)^2 has the gradient 2 x^T x w in w, whose sum has the gradient 2 x^T x 1.
    inputs, weight = draw(128, 64), draw(64, 96, seed=1).requires_grad_()
    (gradient,) = torch.autograd.grad(
        linear(inputs, weight).square().sum(), weight, create_graph=True
    )
    (second,) = torch.autograd.grad(gradient.sum(), weight)
    expected = 2 * inputs.T @ inputs @ torch.ones(64, 96)
    torch.testing.assert_close(second, expected, rtol=1e-4, atol=1e-3)


def test_nothing_is_computed_for_frozen_parameters():
    inputs, weight = draw(128, 64).requires_grad_(), draw(64, 96, seed=1)
    outputs = linear(inputs, weight)
    assert outputs.grad_fn.saved_tensors[0] is None  # the inputs only serve the weight's gradient
    outputs.sum().backward()
    torch.testing.assert_close(inputs.grad, weight.sum(1).expand(128, 64))


def test_results_may_be_overwritten_in_place():
    for members in (1, 2):
        weight = draw(members, 64, 96).requires_grad_()
        outputs = linear(draw(members, 128, 64, seed=1), weight).relu_()
        outputs.sum().backward()
        assert weight.grad.abs().sum() > 0


def test_double_precision_stays_double():
    inputs, weight = draw(128, 64).double().requires_grad_(), draw(64, 96, seed=1).double()
    assert linear(inputs, weight).dtype == torch.float64


def test_without_onednn_torchs_own_product_serves(monkeypatch):
    inputs, weight = draw(128, 64), draw(64, 96, seed=1)
    monkeypatch.setattr(pbrl.linear, "_onednn_linear", None)
    assert torch.equal(linear(inputs, weight), inputs @ weight)


@pytest.mark.parametrize("members", [(), (3,), (2, 3)])
def test_in_bfloat16_large_products_are_near_and_the_rest_is_the_same(members):
    inputs, weight = draw(*members, 300, 256), draw(*members, 256, 256, seed=1) / 16
    bias = draw(*members, 1, 256, seed=2)
    exact = linear(inputs, weight, bias)
    narrow = linear(inputs, weight[..., :1], bias[..., :1])
    with matmul_precision("bfloat16"):
        ours = [tensor.clone().requires_grad_() for tensor in (inputs, weight, bias)]
        near = linear(*ours)
        near.sin().mean().backward()
        assert torch.equal(linear(inputs, weight[..., :1], bias[..., :1]), narrow)
    assert near.dtype == torch.float32
    assert 1e-4 < (near - exact).norm() / exact.norm() < 1e-2
    plain = [tensor.clone().requires_grad_() for tensor in (inputs, weight, bias)]
    (plain[0] @ plain[1] + plain[2]).sin().mean().backward()
    for one, other in zip(ours, plain, strict=True):
        assert one.grad.dtype == torch.float32
        assert (one.grad - other.grad).norm() / other.grad.norm() < 2e-2
    assert torch.equal(linear(inputs, weight, bias), exact)  # for a while only


def test_other_precisions_are_refused():
    with pytest.raises(ValueError, match="float32 or bfloat16, got 'float16'"):
        check_precision("float16")
