import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from pbrl import reward_learning as module
from pbrl.crops import CropConfig
from pbrl.feedback import LabelledQueries
from pbrl.label_noise import LabelNoiseConfig
from pbrl.networks import EnsembleLinear
from pbrl.preference import LossConfig
from pbrl.replay import ReplayBuffer
from pbrl.reward_learning import RewardLearner, RewardLearningConfig
from pbrl.rewards import RewardConfig, RewardEnsemble
from pbrl.segments import SegmentIndex

HORIZON = 25
SMALL = RewardConfig(hidden_sizes=(32, 32))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pendulum_walks(num_episodes: int = 20, length: int = 100, seed: int = 0) -> ReplayBuffer:
    """Random walks of an angle; the true reward is (1 + cos(angle)) / 2."""
    noise = generator(seed)
    speed = torch.zeros(num_episodes)
    angle = 2 * math.pi * torch.rand(num_episodes, generator=noise)
    replay = ReplayBuffer(num_episodes * length, 3, 1, num_envs=num_episodes)
    no = torch.zeros(num_episodes, dtype=torch.bool)
    for step in range(length):
        observations = torch.stack([angle.cos(), angle.sin(), speed], 1)
        actions = 2 * torch.rand(num_episodes, 1, generator=noise) - 1
        speed = 0.9 * speed + 0.3 * actions[:, 0]
        angle = angle + 0.3 * speed + 0.2 * torch.randn(num_episodes, generator=noise)
        reward = (1 + observations[:, 0]) / 2
        following = torch.stack([angle.cos(), angle.sin(), speed], 1)
        last = no | (step == length - 1)
        replay.add(observations, actions, reward, reward, following, no, last)
    return replay


def labelled_pairs(replay: ReplayBuffer, number: int, seed: int = 1) -> LabelledQueries:
    index = replay.sample_segments(2 * number, HORIZON, generator(seed)).reshape(number, 2)
    returns = replay.gather(index).true_returns()
    return LabelledQueries(index, (returns[:, 1] > returns[:, 0]).float(), torch.ones(number))


def learner(reward: RewardConfig = SMALL, seed: int = 0, **config) -> RewardLearner:
    ensemble = RewardEnsemble(reward, 3, 1, generator=generator(seed))
    return RewardLearner(RewardLearningConfig(**config), ensemble)


def agreement(fitted: RewardLearner, replay: ReplayBuffer, number: int = 200) -> float:
    """Share of fresh pairs that the mean reward puts in the true order."""
    fresh = labelled_pairs(replay, number, seed=99)
    with torch.no_grad():
        returns = fitted.ensemble.segment_returns(replay.gather(fresh.index)).mean(0)
    return float(((returns[:, 1] > returns[:, 0]) == (fresh.labels > 0.5)).float().mean())


def parameters(fitted: RewardLearner) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in fitted.ensemble.network.parameters()]


@pytest.fixture(scope="module")
def replay() -> ReplayBuffer:
    return pendulum_walks()


def test_fifty_pairs_teach_the_reward_and_the_controls_fail(replay):
    labelled = labelled_pairs(replay, 50)
    accuracies = {}
    shuffle = torch.randperm(50, generator=generator(3))
    for name, labels in (
        ("true", labelled.labels),
        ("flipped", 1 - labelled.labels),
        ("shuffled", labelled.labels[shuffle]),
    ):
        fitted = learner(RewardConfig(), passes=10)
        fitted.fit(dataclasses.replace(labelled, labels=labels), replay, generator())
        accuracies[name] = agreement(fitted, replay)
    assert accuracies["true"] > 0.93
    assert accuracies["flipped"] < 0.07
    assert 0.25 < accuracies["shuffled"] < 0.75


@pytest.mark.parametrize("crops", [None, CropConfig(num_crops=4, min_cut=3, max_cut=8)])
def test_a_step_equals_a_plain_loop_over_members(replay, crops):
    """Own networks, own minibatch orders, summed losses, one Adam: written out one by one."""
    labelled = labelled_pairs(replay, 10)
    labelled = dataclasses.replace(labelled, weights=torch.linspace(0.5, 1.5, 10))
    fitted = learner(passes=3, target_accuracy=1.0, crops=crops)
    weights = [parameter.requires_grad_() for parameter in parameters(fitted)]
    fitted.fit(labelled, replay, generator(5))

    segments = replay.gather(labelled.index)
    inputs = torch.cat([segments.observations, segments.actions], -1)
    optimizer = torch.optim.Adam(weights, lr=3e-4)
    draws = generator(5)
    for _ in range(3):
        order = torch.rand(3, 10, generator=draws).argsort(1)
        lengths = torch.full((3, 10, 2), HORIZON)
        cut = None if crops is None else module.draw_crops(crops, lengths, draws)
        loss = torch.zeros(())
        for member in range(3):
            hidden = inputs[order[member]]
            for depth in range(0, len(weights), 2):
                hidden = hidden @ weights[depth][member] + weights[depth + 1][member, 0]
                hidden = F.leaky_relu(hidden, 0.01) if depth + 2 < len(weights) else hidden
            rewards = hidden[..., 0].tanh()  # [pair, two, time]
            share = labelled.weights[order[member]] / labelled.weights.sum()
            label = labelled.labels[order[member]]
            time = torch.arange(HORIZON)
            for crop in range(1 if cut is None else crops.num_crops):
                kept = torch.ones(10, 2, HORIZON, dtype=torch.bool)
                if cut is not None:
                    kept = cut.start[member, ..., crop, None] <= time
                    kept &= time < cut.end[member, ..., crop, None]
                margin = (rewards * kept).sum(-1).diff(dim=1)[:, 0]
                pairs = F.binary_cross_entropy_with_logits(margin, label, reduction="none")
                loss = loss + (share * pairs).sum() / (1 if cut is None else crops.num_crops)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for actual, expected in zip(parameters(fitted), weights, strict=True):
        torch.testing.assert_close(actual, expected.detach(), atol=2e-5, rtol=1e-4)


def test_parts_for_the_cache_change_nothing(replay, monkeypatch):
    labelled = labelled_pairs(replay, 30)
    config = {"passes": 3, "batch_size": 12, "crops": CropConfig(num_crops=3)}
    whole, parts = learner(**config), learner(**config)
    monkeypatch.setattr(module, "STEPS_IN_CACHE", 10**9)
    of_whole = whole.fit(labelled, replay, generator())
    monkeypatch.setattr(module, "STEPS_IN_CACHE", 150)  # three pairs
    of_parts = parts.fit(labelled, replay, generator())
    assert of_whole == pytest.approx(of_parts)
    for one, other in zip(parameters(whole), parameters(parts), strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def test_gathering_each_step_equals_gathering_once(replay):
    labelled = labelled_pairs(replay, 30)
    one, other = learner(passes=2), learner(passes=2, memory_limit=0.0)
    one.fit(labelled, replay, generator())
    other.fit(labelled, replay, generator())
    assert all(map(torch.equal, parameters(one), parameters(other)))


def test_same_seed_same_parameters(replay):
    labelled = labelled_pairs(replay, 30)
    one, same, other = (learner(passes=3, batch_size=8) for _ in range(3))
    for fitted, seed in ((one, 0), (same, 0), (other, 1)):
        fitted.fit(labelled, replay, generator(seed))
    assert all(map(torch.equal, parameters(one), parameters(same)))
    assert not all(map(torch.equal, parameters(one), parameters(other)))


def test_members_are_trained_independently_of_their_number(replay):
    # Adam scales every parameter alone and losses are summed, so a member learns as if alone.
    labelled = labelled_pairs(replay, 10)
    many = learner(passes=5, target_accuracy=1.0)
    alone = learner(RewardConfig(num_members=1, hidden_sizes=(32, 32)), passes=5)
    state = many.ensemble.network.state_dict()
    alone.ensemble.network.load_state_dict({name: value[:1] for name, value in state.items()})
    many.fit(labelled, replay, generator())
    alone.fit(labelled, replay, generator())
    for one, other in zip(parameters(many), parameters(alone), strict=True):
        torch.testing.assert_close(one[:1], other, atol=2e-5, rtol=1e-4)


def test_every_parameter_moves(replay):
    fitted = learner(passes=1)
    before = parameters(fitted)
    fitted.fit(labelled_pairs(replay, 20), replay, generator())
    for old, new in zip(before, parameters(fitted), strict=True):
        assert (old != new).flatten(1).any(1).all()


@pytest.mark.parametrize(
    ("labels", "effort", "expected"),
    [
        (10, 1000.0, 79),
        (100, 1000.0, 782),
        (1000, 1000.0, 7813),
        (10, 20.0, 2),
        (100, 20.0, 16),
        (1000, 20.0, 157),
        (10, 2000.0, 157),
        (50, 2000.0, 782),
        (100, 2000.0, 1563),
        (1000, 2000.0, 15_625),
    ],
)
def test_steps_by_labels_as_in_the_sheets(labels, effort, expected):
    assert RewardLearningConfig(steps_per_label=effort).num_steps(labels) == expected


def test_steps_by_passes():
    config = RewardLearningConfig(passes=50)
    assert (config.num_steps(128), config.num_steps(129)) == (50, 100)


def test_training_stops_at_the_target_and_at_the_cap(replay):
    labelled = labelled_pairs(replay, 40)
    early = learner(passes=100, learning_rate=3e-3).fit(labelled, replay, generator())
    assert early["reward/accuracy"] > 0.97
    assert early["reward/passes"] < 100
    assert early["reward/steps"] == early["reward/passes"]  # 40 pairs are one minibatch
    capped = learner(passes=3, batch_size=16, target_accuracy=1.0)
    metrics = capped.fit(labelled, replay, generator())
    assert (metrics["reward/steps"], metrics["reward/passes"]) == (9, 3)
    by_steps = learner(steps_per_label=5.0, batch_size=16, target_accuracy=1.0)
    assert by_steps.fit(labelled, replay, generator())["reward/steps"] == 13  # ceil(5 x 40 / 16)


def test_the_running_accuracy_of_a_session_stops_later_than_that_of_a_pass(replay):
    labelled = labelled_pairs(replay, 40)
    steps = {}
    for over in ("pass", "session"):
        fitted = learner(passes=100, learning_rate=3e-3, target_accuracy=0.9, accuracy_over=over)
        metrics = fitted.fit(labelled, replay, generator())
        assert metrics["reward/accuracy"] >= 0.9
        steps[over] = metrics["reward/steps"]
    assert steps["pass"] < steps["session"] < 100


def test_ties_are_learned_from_and_not_counted(replay):
    labelled = labelled_pairs(replay, 20)
    ties = dataclasses.replace(labelled, labels=torch.full((20,), 0.5))
    fitted = learner(passes=2, validation_share=0.3)
    before = parameters(fitted)
    metrics = fitted.fit(ties, replay, generator())
    assert "reward/accuracy" not in metrics
    assert "reward/validation_accuracy" not in metrics
    assert metrics["reward/passes"] == 2
    assert not all(map(torch.equal, before, parameters(fitted)))
    half = torch.where(torch.arange(20) < 10, labelled.labels, 0.5)
    mixed = dataclasses.replace(labelled, labels=half)
    accuracy = learner(passes=1).fit(mixed, replay, generator())["reward/accuracy"]
    assert accuracy * 30 == pytest.approx(round(accuracy * 30))  # ten labels, three members


def test_a_weight_of_zero_leaves_the_label_out(replay):
    labelled = labelled_pairs(replay, 20)
    counts = torch.arange(20) < 12
    wrong = torch.where(counts, labelled.labels, 1 - labelled.labels)
    muted = dataclasses.replace(labelled, labels=wrong, weights=counts.float())
    alone = LabelledQueries(labelled.index[:12], labelled.labels[:12], torch.ones(12))
    one, other = learner(passes=3), learner(passes=3)
    of_one, of_other = (
        fitted.fit(data, replay, generator()) for fitted, data in ((one, muted), (other, alone))
    )
    assert of_one == pytest.approx(of_other)
    for first, second in zip(parameters(one), parameters(other), strict=True):
        torch.testing.assert_close(first, second, atol=2e-5, rtol=1e-4)


def test_bootstrap_hides_queries_from_members(replay):
    labelled = labelled_pairs(replay, 1)
    sees = module.bootstrap_mask(labelled.index, 3, 0.5)[:, 0]
    assert sees.any()
    assert not sees.all()
    fitted = learner(passes=1, bootstrap_share=0.5)
    before = parameters(fitted)
    fitted.fit(labelled, replay, generator())
    for old, new in zip(before, parameters(fitted), strict=True):
        assert torch.equal((old != new).flatten(1).any(1), sees)


def test_held_out_pairs_are_judged_and_not_learned_from(replay):
    labelled = labelled_pairs(replay, 60)
    held_out = module.held_out_mask(labelled.index, 0.3)
    wrong = torch.where(held_out, 1 - labelled.labels, labelled.labels)
    metrics = learner(learning_rate=3e-3, validation_share=0.3).fit(
        dataclasses.replace(labelled, labels=wrong), replay, generator()
    )
    assert metrics["reward/accuracy"] > 0.9
    assert metrics["reward/validation_accuracy"] < 0.2


def test_a_single_label_is_learned_from_even_if_it_should_be_held_out(replay):
    for seed in range(4):
        fitted = learner(passes=1, validation_share=0.99)
        metrics = fitted.fit(labelled_pairs(replay, 1, seed=seed), replay, generator())
        assert "reward/validation_accuracy" not in metrics


def test_normalisers_are_refreshed_from_the_replay_and_the_labelled_steps(replay):
    reward = RewardConfig(hidden_sizes=(16,), normalize_observations=True, normalize_rewards=True)
    fitted = learner(reward, passes=5)
    labelled = labelled_pairs(replay, 50)
    for _ in range(2):
        fitted.fit(labelled, replay, generator())
    moments = fitted.ensemble.observation_moments
    torch.testing.assert_close(moments.mean.float(), replay.all_observations().mean(0))
    assert moments.count == replay.num_steps
    segments = replay.gather(labelled.index)
    with torch.no_grad():
        rewards = fitted.ensemble.mean_reward(segments.observations, segments.actions)
    assert rewards.mean().abs() < 0.05
    assert rewards.std().item() == pytest.approx(1, abs=0.05)


def test_segments_of_unequal_length(replay):
    labelled = labelled_pairs(replay, 20)
    length = labelled.index.length.clone()
    length[:, 1] -= torch.arange(20) % 5
    index = dataclasses.replace(labelled.index, length=length)
    metrics = learner(passes=2, crops=CropConfig(num_crops=2)).fit(
        dataclasses.replace(labelled, index=index), replay, generator()
    )
    assert math.isfinite(metrics["reward/loss"])


@pytest.mark.parametrize("name", ["smoothed", "robust", "hinge", "ipo", "biased"])
def test_every_loss_teaches_the_reward(replay, name):
    loss = LossConfig(name=name, flip_rate=0.1, scale=1.0, bias=0.9)
    fitted = learner(loss=loss, learning_rate=3e-3, passes=20)
    fitted.fit(labelled_pairs(replay, 60), replay, generator())
    assert agreement(fitted, replay) > 0.85


def test_resumed_sessions_continue_bit_for_bit(replay):
    reward = dataclasses.replace(SMALL, normalize_rewards=True)
    labelled = labelled_pairs(replay, 30)
    one, other = learner(reward, passes=3), learner(reward, seed=1, passes=3)
    assert not one.is_trained
    draws = generator()
    one.fit(labelled, replay, draws)
    other.load_state_dict(one.state_dict())
    assert other.is_trained
    later = torch.Generator().set_state(draws.get_state())
    assert one.fit(labelled, replay, draws) == other.fit(labelled, replay, later)
    for name, value in one.ensemble.state_dict().items():
        assert torch.equal(value, other.ensemble.state_dict()[name]), name


@pytest.mark.many_updates
def test_the_share_of_right_labels_is_found_beside_the_reward(replay):
    labelled = labelled_pairs(replay, 300)
    is_right = torch.rand(300, generator=generator(5)) < 0.75
    given = torch.where(is_right, labelled.labels, 1 - labelled.labels)
    noisy = dataclasses.replace(labelled, labels=given)
    noise = LabelNoiseConfig(reliability=0.9, rate=0.1, warmup_updates=30)
    settings = {"learning_rate": 1e-3, "batch_size": 64, "passes": 40, "label_noise": noise}
    fitted = learner(**settings)
    fitted.fit(noisy, replay, generator())
    assert fitted.label_noise.reliability.item() == pytest.approx(0.75, abs=0.08)
    assert agreement(fitted, replay) > 0.85
    restored = learner(seed=1, **settings)
    restored.load_state_dict(fitted.state_dict())
    draws = generator(), generator()
    assert fitted.fit(noisy, replay, draws[0]) == restored.fit(noisy, replay, draws[1])
    assert torch.equal(fitted.label_noise.reliability, restored.label_noise.reliability)
    with pytest.raises(ValueError, match="num_annotators must be 1"):
        RewardLearningConfig(label_noise=LabelNoiseConfig(num_annotators=2))


def test_no_gradient_is_computed_for_inputs(replay, monkeypatch):
    seen = []
    forward = EnsembleLinear.forward

    def spy(self, inputs):
        seen.append(inputs.requires_grad)
        return forward(self, inputs)

    monkeypatch.setattr(EnsembleLinear, "forward", spy)
    learner(passes=1).fit(labelled_pairs(replay, 5), replay, generator())
    assert seen == [False, True, True]


def test_no_labels_are_refused(replay):
    labelled = labelled_pairs(replay, 1)
    nothing = LabelledQueries(labelled.index[:0], labelled.labels[:0], labelled.weights[:0])
    with pytest.raises(ValueError, match="no labels"):
        learner().fit(nothing, replay, generator())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"batch_size": 0}, "batch_size and passes must be at least 1"),
        ({"passes": 0}, "batch_size and passes must be at least 1"),
        ({"steps_per_label": 0.0}, "steps_per_label must be positive"),
        ({"target_accuracy": 97.0}, "target_accuracy must lie in"),
        ({"bootstrap_share": 0.0}, "bootstrap_share must lie in"),
        ({"validation_share": 1.0}, "validation_share must lie in"),
        ({"memory_limit": -1.0}, "memory_limit not negative"),
    ],
)
def test_bad_configurations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        RewardLearningConfig(**arguments)


@pytest.mark.parametrize(("score", "loss"), [("sum", 0.048587), ("mean", 0.678260)])
def test_logits_by_sum_or_mean_by_hand(score, loss):
    """One hundred steps of 0.02 against one hundred of 0.05, the second preferred."""
    replay = ReplayBuffer.from_episodes(
        observations=torch.tensor([0.02, 0.05]).repeat_interleave(100)[:, None],
        actions=torch.zeros(200, 1),
        true_rewards=torch.zeros(200),
        last_observations=torch.zeros(2, 1),
        lengths=torch.tensor([100, 100]),
        terminated=torch.zeros(2, dtype=torch.bool),
    )
    ensemble = RewardEnsemble(RewardConfig(num_members=1, hidden_sizes=(), output="linear"), 1, 1)
    for layer in ensemble.network.layers:
        if isinstance(layer, EnsembleLinear):
            layer.weight.data = torch.tensor([[[1.0], [0.0]]])  # the reward is the observation
            layer.bias.data.zero_()
    zeros = torch.zeros(1, 2, dtype=torch.int64)
    pair = SegmentIndex(torch.tensor([[0, 1]]), zeros, zeros + 100)
    labelled = LabelledQueries(pair, torch.ones(1), torch.ones(1))
    fitted = RewardLearner(RewardLearningConfig(score=score, passes=1), ensemble)
    metrics = fitted.fit(labelled, replay, generator())
    assert metrics["reward/loss"] == pytest.approx(loss, abs=2e-6)


def test_a_session_in_parts_is_the_whole_session(replay):
    labelled = labelled_pairs(replay, 40)
    whole, parts = (learner(batch_size=16, passes=6, target_accuracy=1.0) for _ in range(2))
    draws = generator(5)
    assert whole.fit(labelled, replay, generator(5))["reward/steps"] == 18
    for _ in range(3):
        assert parts.fit(labelled, replay, draws, max_steps=6)["reward/steps"] == 6
    for one, other in zip(parameters(whole), parameters(parts), strict=True):
        assert torch.equal(one, other)
