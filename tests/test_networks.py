import pytest
import torch
from torch import nn

from pbrl.networks import (
    EnsembleLinear,
    EnsembleMLP,
    initialize,
    make_activation,
    mlp,
    move_towards,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_ensemble_linear_by_hand():
    layer = EnsembleLinear(2, 2, 1)
    layer.weight.data = torch.tensor([[[1.0], [2.0]], [[0.0], [-1.0]]])
    layer.bias.data = torch.tensor([[[0.5]], [[0.0]]])
    shared = layer(torch.tensor([[[3.0, 4.0]]]))
    torch.testing.assert_close(shared, torch.tensor([[[11.5]], [[-4.0]]]))
    own = layer(torch.tensor([[[3.0, 4.0]], [[5.0, 6.0]]]))
    torch.testing.assert_close(own, torch.tensor([[[11.5]], [[-6.0]]]))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "mish", "tanh", "identity"])
def test_ensemble_equals_its_members_one_by_one(activation):
    sizes = (5, 16, 16, 3)
    ensemble = EnsembleMLP(3, sizes, activation=activation, generator=generator())
    inputs = torch.randn(3, 7, 5, generator=generator(1))
    outputs = ensemble(inputs)
    for member in range(3):
        single = mlp(sizes, activation=activation)
        linears = [layer for layer in single if isinstance(layer, nn.Linear)]
        batched = [layer for layer in ensemble.layers if isinstance(layer, EnsembleLinear)]
        for linear, layer in zip(linears, batched, strict=True):
            linear.weight.data = layer.weight.data[member].T
            linear.bias.data = layer.bias.data[member, 0]
        torch.testing.assert_close(outputs[member], single(inputs[member]))


def test_shared_inputs_equal_repeated_ones_in_values_and_gradients():
    ensemble = EnsembleMLP(3, (4, 8, 2), generator=generator())
    inputs = torch.randn(1, 6, 4, generator=generator(1), requires_grad=True)
    shared = ensemble(inputs)
    repeated = ensemble(inputs.detach().repeat(3, 1, 1))
    torch.testing.assert_close(shared, repeated)
    shared.square().sum().backward()
    assert inputs.grad is not None
    by_shared = [parameter.grad.clone() for parameter in ensemble.parameters()]
    ensemble.zero_grad()
    repeated.square().sum().backward()
    for one, other in zip(by_shared, ensemble.parameters(), strict=True):
        torch.testing.assert_close(one, other.grad)


def test_every_parameter_of_every_member_receives_a_gradient():
    ensemble = EnsembleMLP(3, (4, 8, 8, 1), activation="leaky_relu", generator=generator())
    ensemble(torch.randn(1, 16, 4, generator=generator(1))).square().sum().backward()
    for parameter in ensemble.parameters():
        assert (parameter.grad.flatten(1).abs().sum(1) > 0).all()


def test_orthogonal_initialisation_per_member():
    ensemble = EnsembleMLP(3, (6, 10, 6), initialization="orthogonal", generator=generator())
    wide, narrow = ensemble.layers[0], ensemble.layers[2]
    torch.testing.assert_close(wide.weight @ wide.weight.mT, torch.eye(6).expand(3, 6, 6))
    torch.testing.assert_close(narrow.weight.mT @ narrow.weight, torch.eye(6).expand(3, 6, 6))
    assert not wide.bias.any()
    assert not torch.allclose(wide.weight[0], wide.weight[1])


def test_torch_initialisation_has_the_range_of_nn_linear():
    layer = EnsembleLinear(3, 100, 400, generator=generator())
    for values in (layer.weight, layer.bias):
        assert values.abs().max() <= 0.1
        # A uniform on [-0.1, 0.1] has standard deviation 0.1 / sqrt(3) = 0.057735.
        assert abs(values.std().item() - 0.057735) < 0.002


def test_same_generator_same_parameters_and_global_state_untouched():
    before = torch.get_rng_state()
    for build in (
        lambda seed: EnsembleMLP(2, (3, 4, 1), generator=generator(seed)),
        lambda seed: mlp((3, 4, 1), generator=generator(seed), initialization="orthogonal"),
    ):
        one, same, other = (build(seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert any(not torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(before, torch.get_rng_state())


def test_activations_by_hand():
    values = torch.tensor([-2.0, 0.0, 3.0])
    expected = {
        "relu": [0.0, 0.0, 3.0],
        "leaky_relu": [-0.02, 0.0, 3.0],
        "mish": [-0.252501, 0.0, 2.986535],
        "tanh": [-0.964028, 0.0, 0.995055],
        "sigmoid": [0.119203, 0.5, 0.952574],
        "identity": [-2.0, 0.0, 3.0],
    }
    for name, outputs in expected.items():
        torch.testing.assert_close(make_activation(name)(values.clone()), torch.tensor(outputs))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="activation must be one of .*swish"):
        mlp((2, 3, 1), activation="swish")
    with pytest.raises(ValueError, match="initialization must be .*zeros"):
        initialize(torch.zeros(2, 2), torch.zeros(2), "zeros")
    with pytest.raises(ValueError, match="sizes must name"):
        mlp((2,))
    with pytest.raises(ValueError, match="must be positive"):
        EnsembleLinear(0, 2, 2)


@pytest.mark.parametrize("shape", [(4,), (7, 4), (2, 3, 4)])
def test_a_perceptron_takes_any_leading_shape(shape):
    network = mlp((4, 8, 2), generator=generator())
    inputs = torch.randn(shape, generator=generator(1))
    first, _, last, _ = network
    expected = torch.relu(inputs @ first.weight.T + first.bias) @ last.weight.T + last.bias
    torch.testing.assert_close(network(inputs), expected)


def test_a_target_moves_its_share_of_the_way():
    target, source = nn.Linear(3, 2), nn.Linear(3, 2)
    expected = [
        0.9 * there + 0.1 * here
        for there, here in zip(target.parameters(), source.parameters(), strict=True)
    ]
    kept = source.weight.detach().clone()
    move_towards(target, source, 0.1)
    for parameter, value in zip(target.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter, value)
    assert torch.equal(source.weight, kept)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (64, 3), (40,), (4, 2, 5)])
def test_a_layer_without_gradients_gives_what_it_gives_with_them_to_the_bit(shape):
    """Small products take a shorter way, dense or not."""
    layer = mlp((24, 48), generator=torch.Generator().manual_seed(0))[0]
    inputs = torch.randn(*shape, 48, generator=torch.Generator().manual_seed(1))
    for one in (inputs[..., :24].contiguous(), inputs[..., :24], inputs[..., ::2]):
        with torch.no_grad():
            plain = layer(one)
        assert torch.equal(plain, layer(one))
