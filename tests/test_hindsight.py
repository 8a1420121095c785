import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.feedback import LabelledQueries
from pbrl.hindsight import HindsightConfig, HindsightPrior, redistribution_loss, state_importance
from pbrl.preference import logistic_loss
from pbrl.replay import ReplayBuffer
from pbrl.reward_learning import RewardLearner, RewardLearningConfig
from pbrl.rewards import RewardConfig, RewardEnsemble
from pbrl.segments import SegmentIndex
from pbrl.transformer import TransformerConfig
from pbrl.world_model import WorldModelConfig

SMALL = WorldModelConfig(
    transformer=TransformerConfig(width=16, num_layers=2, num_heads=2),
    max_steps=12,
    batch_size=8,
    initial_updates=6,
    session_updates=3,
)
HORIZON = 10


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_importance_by_hand():
    rows = torch.tensor(
        [[0.05, 0.05, 0.30, 0.20, 0.25, 0.15], [0.10, 0.10, 0.40, 0.10, 0.20, 0.10]]
    )
    attention = rows[:, None, None]  # two layers, one segment, one head
    torch.testing.assert_close(state_importance(attention), torch.tensor([[0.15, 0.50, 0.35]]))
    last = state_importance(attention, layers="last")
    torch.testing.assert_close(last, torch.tensor([[0.2, 0.5, 0.3]]))


def test_the_largest_head_counts_where_asked():
    heads = torch.tensor([[0.5, 0.1, 0.2, 0.2], [0.1, 0.1, 0.1, 0.7]])
    most = state_importance(heads[None, None], heads="max")
    torch.testing.assert_close(most, torch.tensor([[0.6, 0.9]]) / 1.5)


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 4), st.integers(1, 6))
@settings(max_examples=30)
def test_importance_is_a_distribution_whatever_the_order_of_heads_and_layers(
    seed, num_layers, num_heads, steps
):
    shape = (num_layers, 2, num_heads, 2 * steps)
    attention = torch.rand(shape, generator=generator(seed), dtype=torch.float64).softmax(-1)
    for heads in ("mean", "max"):
        shares = state_importance(attention, heads=heads)
        torch.testing.assert_close(shares.sum(-1), torch.ones(2, dtype=torch.float64))
        assert (shares >= 0).all()
        shuffled = state_importance(attention.flip(0, 2), heads=heads)
        torch.testing.assert_close(shares, shuffled)


def loss_and_gradient(rewards, importance, *, detach):
    given = torch.tensor(rewards, requires_grad=True)
    mask = torch.ones(len(rewards), dtype=torch.bool)
    loss = redistribution_loss(given, torch.tensor(importance), mask, detach=detach)
    loss.backward()
    return loss.item(), given.grad


def test_redistribution_by_hand():
    importance = [0.15, 0.50, 0.35]
    loss, gradient = loss_and_gradient([0.9, -0.2, 0.5], importance, detach=True)
    assert loss == pytest.approx(0.388267, abs=1e-6)
    torch.testing.assert_close(gradient, torch.tensor([0.48, -0.533333, 0.053333]))
    _, gradient = loss_and_gradient([0.9, -0.2, 0.5], importance, detach=False)
    torch.testing.assert_close(gradient, torch.tensor([0.656, -0.357333, 0.229333]))
    mirrored, gradient = loss_and_gradient([-0.9, 0.2, -0.5], importance, detach=True)
    assert mirrored == pytest.approx(loss)  # towards (-.18, -.60, -.42)
    torch.testing.assert_close(gradient, torch.tensor([-0.48, 0.533333, -0.053333]))
    for scale in (2.0, -0.7):  # neither scale nor sign is told
        rewards = [scale * share for share in importance]
        assert loss_and_gradient(rewards, importance, detach=True)[0] == pytest.approx(0, abs=1e-12)


def test_the_total_of_a_pair_by_hand():
    rewards = torch.tensor([[0.1, 0.0, 0.2], [0.9, -0.2, 0.5]])
    importance = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.15, 0.50, 0.35]])
    mask = torch.ones(2, 3, dtype=torch.bool)
    distances = redistribution_loss(rewards, importance, mask)
    torch.testing.assert_close(distances, torch.tensor([0.006667, 0.388267]), atol=1e-6, rtol=0)
    return_0, return_1 = rewards.sum(-1)
    loss = logistic_loss((return_1 - return_0)[None], torch.ones(1))
    assert loss.item() == pytest.approx(0.341154, abs=1e-6)
    assert (loss + distances.mean()).item() == pytest.approx(0.538621, abs=1e-6)
    assert (loss + 10 * distances.mean()).item() == pytest.approx(2.315821, abs=1e-5)


@pytest.mark.parametrize(("steps", "mean"), [(25, 0.320), (50, 0.327), (100, 0.330)])
def test_rewards_spread_evenly_cost_a_third_of_almost_all_steps(steps, mean):
    """(1 - 1 / H) / 3, for rewards uniform in (-1, 1) and an importance that is the same."""
    rewards = 2 * torch.rand(20_000, steps, generator=generator()) - 1
    mask = torch.ones(1, steps, dtype=torch.bool)
    losses = redistribution_loss(rewards, torch.full_like(rewards, 1 / steps), mask)
    assert losses.mean().item() == pytest.approx(mean, abs=2e-3)


@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(0, 4))
@settings(max_examples=30)
def test_properties_of_the_term(seed, steps, padding):
    draws = generator(seed)
    rewards = torch.randn(steps + padding, generator=draws, dtype=torch.float64)
    shares = torch.rand(steps, generator=draws, dtype=torch.float64).softmax(-1)
    importance = torch.cat([shares, torch.zeros(padding, dtype=torch.float64)])
    mask = torch.arange(steps + padding) < steps
    rewards.requires_grad_()
    loss = redistribution_loss(rewards, importance, mask)
    (gradient,) = torch.autograd.grad(loss, rewards)
    assert gradient.sum().abs() < 1e-12  # no say in the return
    assert (gradient[steps:] == 0).all()
    assert loss >= 0
    attached = redistribution_loss(rewards, importance, mask, detach=False)
    (gradient,) = torch.autograd.grad(attached, rewards)
    torch.testing.assert_close((rewards * gradient).sum(), 2 * attached)  # it shrinks rewards
    if steps == 1:
        assert loss == 0
    alone = redistribution_loss(rewards[:steps], shares, mask[:steps])
    torch.testing.assert_close(loss, alone)
    uniform = mask.double() / steps
    spread = redistribution_loss(rewards, uniform, mask)
    torch.testing.assert_close(spread, rewards[:steps].var(correction=0))


def walks(num_steps: int = 60, num_episodes: int = 3) -> ReplayBuffer:
    draws = generator(1)
    steps = num_episodes * num_steps
    observations = torch.randn(steps, 3, generator=draws).cumsum(0)
    return ReplayBuffer.from_episodes(
        observations=observations,
        actions=2 * torch.rand(steps, 2, generator=draws) - 1,
        true_rewards=observations[:, 0].sin(),
        last_observations=observations[num_steps - 1 :: num_steps] + 0.1,
        lengths=torch.full((num_episodes,), num_steps),
        terminated=torch.zeros(num_episodes, dtype=torch.bool),
    )


def labelled_pairs(replay: ReplayBuffer, number: int) -> LabelledQueries:
    index = replay.sample_segments(2 * number, HORIZON, generator(1)).reshape(number, 2)
    returns = replay.gather(index).true_returns()
    return LabelledQueries(index, (returns[:, 1] > returns[:, 0]).float(), torch.ones(number))


def learner(hindsight: HindsightConfig | None, **config) -> RewardLearner:
    draws = generator()
    ensemble = RewardEnsemble(RewardConfig(hidden_sizes=(16,)), 3, 2, generator=draws)
    settings_ = {"passes": 4, "batch_size": 8, "target_accuracy": 1.0, "hindsight": hindsight}
    return RewardLearner(RewardLearningConfig(**settings_ | config), ensemble, draws)


def parameters(fitted: RewardLearner) -> torch.Tensor:
    return torch.cat([part.detach().flatten() for part in fitted.ensemble.network.parameters()])


def test_without_weight_it_is_the_plain_learner_bit_for_bit():
    replay = walks()
    labelled = labelled_pairs(replay, 12)
    plain, muted, prior = (
        learner(None),
        learner(HindsightConfig(weight=0.0, world=SMALL)),
        learner(HindsightConfig(world=SMALL)),
    )
    metrics = [one.fit(labelled, replay, generator(3)) for one in (plain, muted, prior)]
    assert torch.equal(parameters(plain), parameters(muted))
    assert not torch.equal(parameters(plain), parameters(prior))
    assert metrics[0]["reward/loss"] == metrics[1]["reward/loss"]
    assert "reward/hindsight_loss" not in metrics[0]
    assert metrics[1]["reward/hindsight_loss"] > metrics[2]["reward/hindsight_loss"] > 0
    assert metrics[2]["world/updates"] == 6


def test_a_step_has_the_gradient_of_both_terms(monkeypatch):
    replay = walks()
    labelled = labelled_pairs(replay, 8)
    fitted = learner(HindsightConfig(weight=3.0, world=SMALL), passes=1)
    gradients = []
    monkeypatch.setattr(
        fitted.optimizer,
        "step",
        lambda: gradients.extend(
            part.grad.clone() for part in fitted.ensemble.network.parameters()
        ),
    )
    before = fitted.ensemble.network.state_dict()
    fitted.fit(labelled, replay, generator(3))
    segments = replay.gather(labelled.index)
    assert fitted.hindsight is not None
    importance = fitted.hindsight.importance_of(segments.reshape(-1)).view(8, 2, HORIZON)
    fitted.ensemble.network.load_state_dict(before)
    rewards = fitted.ensemble(segments.observations, segments.actions)  # [member, pair, two, time]
    margin = rewards.sum(-1).diff(dim=-1)[..., 0]
    distance = redistribution_loss(rewards, importance.expand_as(rewards), segments.mask)
    pairs = logistic_loss(margin, labelled.labels.expand_as(margin)) + 3 * distance.mean(-1)
    expected = torch.autograd.grad(pairs.mean(1).sum(), list(fitted.ensemble.network.parameters()))
    for found, right in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, right, atol=1e-5, rtol=1e-4)


def test_a_restored_learner_goes_on_bit_for_bit():
    replay = walks()
    labelled = labelled_pairs(replay, 12)
    hindsight = HindsightConfig(world=SMALL)
    one, other = learner(hindsight), learner(hindsight)
    draws = generator(3)
    one.fit(labelled, replay, draws)
    other.load_state_dict(one.state_dict())
    later = torch.Generator()
    later.set_state(draws.get_state())
    for replay_now in (replay, walks(num_steps=80)):  # nothing new; a buffer that has grown
        metrics = one.fit(labelled, replay_now, draws)
        assert metrics == other.fit(labelled, replay_now, later)
        assert torch.equal(parameters(one), parameters(other))
    assert metrics["world/updates"] == 9


def test_the_world_model_learns_in_parts_or_at_once():
    replay = walks()
    whole, parts = (
        HindsightPrior(HindsightConfig(world=SMALL), 3, 2, generator=generator()) for _ in "ab"
    )
    whole.world.fit(replay, HORIZON)
    for _ in range(3):
        parts.world.fit(replay, HORIZON, max_updates=2)
    assert parts.world.fit(replay, HORIZON) == {}
    index = replay.sample_segments(5, HORIZON, generator())
    assert torch.equal(whole.importance(index, replay), parts.importance(index, replay))


def test_importance_is_read_again_only_after_learning(monkeypatch):
    replay = walks()
    prior = HindsightPrior(HindsightConfig(world=SMALL), 3, 2, generator=generator())
    index = replay.sample_segments(5, HORIZON, generator())
    index = SegmentIndex(index.episode, index.start, torch.tensor([10, 3, 10, 1, 7]))
    before = prior.importance(index, replay)
    torch.testing.assert_close(before.sum(-1), torch.ones(5))
    assert (before[1, 3:] == 0).all()
    assert before[3, 0] == pytest.approx(1.0)
    assert prior.importance(index, replay) is before
    prior.world.fit(replay, HORIZON)
    assert not torch.equal(prior.importance(index, replay), before)


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="weight must not be negative, got -1.0"):
        HindsightConfig(weight=-1.0)


def test_a_learner_needs_a_generator_for_its_world_model():
    ensemble = RewardEnsemble(RewardConfig(hidden_sizes=(16,)), 3, 2, generator=generator())
    with pytest.raises(ValueError, match="hindsight needs a generator"):
        RewardLearner(RewardLearningConfig(hindsight=HindsightConfig()), ensemble)
