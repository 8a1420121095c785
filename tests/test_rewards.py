import pytest
import torch
from torch import nn

from pbrl import rewards as rewards_module
from pbrl.networks import EnsembleLinear
from pbrl.rewards import RewardConfig, RewardEnsemble
from pbrl.segments import Segments

SMALL = RewardConfig(hidden_sizes=(16, 16))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ensemble_of(config: RewardConfig = SMALL, seed: int = 0) -> RewardEnsemble:
    return RewardEnsemble(config, 4, 2, generator=generator(seed))


def steps(*shape: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.randn(*shape, 6, generator=generator(seed))
    return drawn[..., :4], drawn[..., 4:]


def constant_ensemble(*outputs: float, config: RewardConfig | None = None) -> RewardEnsemble:
    """Members that give every step the same reward."""
    config = config or RewardConfig(num_members=len(outputs), hidden_sizes=(), output="linear")
    ensemble = RewardEnsemble(config, 4, 2, generator=generator())
    layer = ensemble.network.layers[0]
    layer.weight.data.zero_()
    layer.bias.data = torch.tensor(outputs).view(-1, 1, 1)
    return ensemble


def test_the_default_is_the_network_of_b_pref():
    ensemble = RewardEnsemble(RewardConfig(), 24, 6, generator=generator())
    linears = [layer for layer in ensemble.network.layers if isinstance(layer, EnsembleLinear)]
    shapes = [tuple(layer.weight.shape) for layer in linears]
    assert shapes == [(3, 30, 256), (3, 256, 256), (3, 256, 256), (3, 256, 1)]
    assert [layer.negative_slope for layer in ensemble.network.layers[1:6:2]] == [0.01] * 3
    assert isinstance(ensemble.network.layers[-1], nn.Tanh)


@pytest.mark.parametrize("shape", [(), (5,), (3, 2, 7)])
def test_any_batch_shape_with_members_leading(shape):
    ensemble = ensemble_of()
    observations, actions = steps(*shape)
    rewards = ensemble(observations, actions)
    assert rewards.shape == (3, *shape)
    assert rewards.abs().max() < 1
    flat = ensemble(observations.reshape(-1, 4), actions.reshape(-1, 2))
    torch.testing.assert_close(rewards.reshape(3, -1), flat)


def test_own_inputs_per_member_equal_shared_ones():
    ensemble = ensemble_of()
    observations, actions = steps(3, 5, 2)
    own = ensemble.evaluate(ensemble.inputs(observations, actions))
    for member in range(3):
        shared = ensemble(observations[member], actions[member])
        torch.testing.assert_close(own[member], shared[member])


def test_parts_that_fit_the_cache_change_nothing(monkeypatch):
    ensemble = ensemble_of()
    observations, actions = steps(50)
    whole = ensemble(observations, actions)
    monkeypatch.setattr(rewards_module, "STEPS_IN_CACHE", 7)
    with torch.no_grad():
        torch.testing.assert_close(ensemble(observations, actions), whole)


def test_segment_returns_are_masked_sums():
    ensemble = constant_ensemble(0.5, -0.25)
    observations, actions = steps(2, 2, 4)
    mask = torch.arange(4) < torch.tensor([[4, 3], [1, 2]])[..., None]
    segments = Segments(observations, actions, mask, torch.zeros(2, 2, 4))
    expected = torch.tensor([[[2.0, 1.5], [0.5, 1.0]], [[-1.0, -0.75], [-0.25, -0.5]]])
    torch.testing.assert_close(ensemble.segment_returns(segments), expected)


def test_mean_and_population_std_by_hand():
    # Members 0.1, 0.4, 0.7: mean 0.4, standard deviation sqrt(0.18 / 3).
    ensemble = constant_ensemble(0.1, 0.4, 0.7)
    observations, actions = steps(5)
    torch.testing.assert_close(ensemble.mean_reward(observations, actions), torch.full((5,), 0.4))
    torch.testing.assert_close(ensemble.std(observations, actions), torch.full((5,), 0.244949))


def test_reward_normaliser_standardises_the_mean_and_scales_the_std():
    config = RewardConfig(hidden_sizes=(), output="linear", normalize_rewards=True)
    ensemble = constant_ensemble(0.1, 0.4, 0.7, config=config)
    ensemble.reward_moments.update(torch.tensor([0.0, 0.2]))  # mean 0.1, std 0.141421
    observations, actions = steps(5)
    mean, std = ensemble.mean_and_std(observations, actions)
    torch.testing.assert_close(mean, torch.full((5,), 2.1213203))
    torch.testing.assert_close(std, torch.full((5,), 1.7320508))
    # What members learn from labels is untouched.
    torch.testing.assert_close(ensemble(observations, actions)[:, 0], torch.tensor([0.1, 0.4, 0.7]))


def test_observation_normaliser_acts_on_observations_only():
    config = RewardConfig(hidden_sizes=(8,), normalize_observations=True)
    ensemble, plain = ensemble_of(config), ensemble_of(RewardConfig(hidden_sizes=(8,)))
    observations, actions = steps(100)
    ensemble.observation_moments.update(observations)
    standard = (observations - observations.mean(0)) / observations.std(0)
    expected = plain(standard, actions)
    torch.testing.assert_close(ensemble(observations, actions), expected)


def test_state_dict_carries_networks_and_normalisers():
    config = RewardConfig(hidden_sizes=(8,), normalize_observations=True, normalize_rewards=True)
    ensemble, other = ensemble_of(config, seed=0), ensemble_of(config, seed=1)
    observations, actions = steps(20)
    ensemble.observation_moments.update(3 + observations)
    ensemble.reward_moments.update(torch.rand(30))
    expected = ensemble.mean_and_std(observations, actions)
    assert not torch.allclose(other.mean_reward(observations, actions), expected[0])
    other.load_state_dict(ensemble.state_dict())
    for actual, wanted in zip(other.mean_and_std(observations, actions), expected, strict=True):
        assert torch.equal(actual, wanted)


def test_members_differ_and_seeds_repeat():
    one, same, other = ensemble_of(seed=0), ensemble_of(seed=0), ensemble_of(seed=1)
    observations, actions = steps(10)
    assert one.std(observations, actions).min() > 0
    assert torch.equal(one(observations, actions), same(observations, actions))
    assert not torch.equal(one(observations, actions), other(observations, actions))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_members": 0}, "num_members must be at least 1"),
        ({"hidden_sizes": (256, 0)}, "hidden_sizes must be positive"),
    ],
)
def test_bad_configurations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        RewardConfig(**arguments)
