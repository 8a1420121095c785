import math

import pytest
import torch
from torch import Tensor

from pbrl.agents.policies import (
    PolicyConfig,
    gaussian_log_density,
    make_policy,
    squared_error_log_density,
)
from pbrl.agents.policy_scores import PolicyScoreConfig, half_distance, segment_score, step_values
from pbrl.preference import biased_loss

# Three steps; the mean actions and the actions of two segments.
MEAN = torch.tensor([[0.0, 0.0], [0.5, -0.5], [1.0, 0.0]])
ACTIONS_1 = torch.tensor([[0.1, 0.0], [0.5, -0.3], [0.8, 0.2]])
ACTIONS_0 = torch.tensor([[-1.0, 0.0], [0.5, 0.5], [0.0, 0.0]])
ACTIONS = torch.stack([ACTIONS_0, ACTIONS_1])
EVERY_STEP = torch.ones(2, 3, dtype=torch.bool)
DENSITY = squared_error_log_density(MEAN.expand(2, 3, 2), ACTIONS)


def score(values: Tensor, mask: Tensor = EVERY_STEP, **settings) -> Tensor:
    return segment_score(PolicyScoreConfig(**settings), values, mask)


def loss(scores: Tensor, bias: float) -> float:
    return float(biased_loss(scores[0], scores[1], torch.tensor(1.0), bias))


def test_the_likelihood_by_hand():
    scores = score(DENSITY)
    torch.testing.assert_close(scores, torch.tensor([-0.3, -0.013]))
    assert loss(scores, 1.0) == pytest.approx(0.559908, abs=1e-6)
    assert loss(scores, 0.5) == pytest.approx(0.626991, abs=1e-6)
    assert float(-DENSITY.mean()) == pytest.approx(0.521667, abs=1e-6)  # the cloning loss


def test_a_discount_counts_from_the_first_step():
    scores = score(DENSITY, discount=0.9)
    torch.testing.assert_close(scores, torch.tensor([-0.271, -0.01108]))
    assert loss(scores, 0.5) == pytest.approx(0.632871, abs=1e-6)


def test_constants_of_the_density_matter_under_a_bias():
    scores = score(gaussian_log_density(MEAN.expand(2, 3, 2), torch.zeros(2), ACTIONS))
    torch.testing.assert_close(scores, torch.tensor([-0.701363, -0.557863]), rtol=0, atol=1e-6)
    assert loss(scores, 1.0) == pytest.approx(0.623969, abs=1e-6)
    assert loss(scores, 0.5) == pytest.approx(0.802094, abs=1e-6)
    # A constant c per step moves the argument by c H alpha (1 - lambda) and leaves lambda 1 alone.
    shifted = score(DENSITY - 2.0)
    assert loss(shifted, 1.0) == pytest.approx(loss(score(DENSITY), 1.0), abs=1e-6)
    moved = torch.tensor(-0.013 + 0.5 * 0.3 - 2.0 * 3 * 0.1 * 0.5)
    assert loss(shifted, 0.5) == pytest.approx(math.log1p(math.exp(-moved)), abs=1e-6)


def test_the_log_ratio_by_hand():
    reference = torch.tensor([[-0.9, -0.8, -0.9], [-0.02, -0.05, -0.1]])
    scores = score(DENSITY - reference, name="log-ratio", scale=0.2)
    torch.testing.assert_close(scores, torch.tensor([-0.08, 0.008]))
    assert loss(scores, 0.75) == pytest.approx(0.659725, abs=1e-6)


def test_an_average_leaves_padding_out():
    mask = torch.tensor([[True, True, False], [True, True, True]])
    scores = score(DENSITY, mask, average=True, scale=1.0)
    torch.testing.assert_close(scores, torch.tensor([-1.0, -0.13 / 3]))


def test_the_distance_by_hand():
    mean, action = torch.tensor([0.5, -0.5]), torch.tensor([-0.1, 0.3])
    assert float(half_distance(mean, action)) == pytest.approx(0.5)


def test_the_distance_has_no_slope_where_the_policy_copies_the_data():
    mean = torch.tensor([[0.5, -0.5], [0.5, 0.0]], requires_grad=True)
    half_distance(mean, torch.tensor([[0.5, -0.5], [0.2, 0.4]])).sum().backward()
    torch.testing.assert_close(mean.grad, torch.tensor([[0.0, 0.0], [0.3, -0.4]]))


def test_values_of_a_step_follow_their_names():
    config = PolicyConfig(kind="fixed-variance", hidden_sizes=(8,))
    policy, reference = (
        make_policy(config, 3, 2, torch.Generator().manual_seed(seed)) for seed in (0, 1)
    )
    seen, actions = torch.randn(4, 3), torch.rand(4, 2)
    density = policy.log_prob(seen, actions)
    by_name = {
        "likelihood": density,
        "log-ratio": density - reference.log_prob(seen, actions),
        "distance": -((-density).sqrt() / 2),
    }
    for name, expected in by_name.items():
        torch.testing.assert_close(step_values(name, policy, reference, seen, actions), expected)
    step_values("log-ratio", policy, reference, seen, actions).sum().backward()
    assert all(parameter.grad is None for parameter in reference.parameters())


@pytest.mark.parametrize("wrong", [{"scale": 0.0}, {"discount": 0.0}, {"discount": 1.1}])
def test_illegal_settings_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        PolicyScoreConfig(**wrong)
