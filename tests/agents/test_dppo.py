import dataclasses

import pytest
import torch

from pbrl.agents.dppo import DPPO, DPPOConfig, contrastive_loss
from pbrl.agents.learning_rates import RateSchedule
from pbrl.agents.policies import PolicyConfig
from pbrl.agents.policy_scores import half_distance
from pbrl.pairs import OfflineBatch, PairBatch
from pbrl.preference_transformer import PreferenceTransformerConfig
from pbrl.segments import Segments
from pbrl.transformer import TransformerConfig
from pbrl.windows import WindowBatch

SMALL = DPPOConfig(
    predictor=PreferenceTransformerConfig(
        transformer=TransformerConfig(width=8, num_layers=1), attention=False, num_timesteps=20
    ),
    predictor_updates=3,
    predictor_rate=RateSchedule(peak=1e-2),
    num_pairs=5,
    smoothness=0.5,
    shift_std=1.0,
    policy=PolicyConfig(kind="fixed-variance", hidden_sizes=(16,)),
    learning_rate=1e-2,
    num_windows=8,
    segment_steps=4,
    bias=0.5,
)
BEFORE = torch.tensor([0.2, 0.1, 0.4])  # distances, in the order of falling scores
GRADES = torch.tensor([3.0, 2.0, 1.0])


def make(config=SMALL, seed=0):
    return DPPO(config, 3, 2, generator=torch.Generator().manual_seed(seed))


def windows_for(sizes, generator, lengths=None):
    shape = (sizes.number, sizes.steps)
    lengths = torch.full(shape[:1], sizes.steps) if lengths is None else lengths
    mask = torch.arange(sizes.steps) < lengths[:, None]
    observations = torch.randn(*shape, 3, generator=generator) * mask[..., None]
    return WindowBatch(
        observations=observations,
        actions=(torch.rand(*shape, 2, generator=generator) * 2 - 1) * mask[..., None],
        rewards=torch.zeros(shape),
        returns_to_go=torch.zeros(shape),
        timesteps=torch.arange(sizes.steps) * mask,
        mask=mask,
        terminated=torch.zeros(sizes.number, dtype=torch.bool),
        rows=torch.zeros(sizes.number, dtype=torch.int64),
    )


def batch_for(agent, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes, pairs = agent.batch_sizes, None
    if sizes.pairs:
        number = sizes.pairs
        segments = Segments(
            torch.randn(number, 2, 4, 3, generator=generator),
            torch.rand(number, 2, 4, 2, generator=generator) * 2 - 1,
            torch.ones(number, 2, 4, dtype=torch.bool),
            torch.zeros(number, 2, 4),
        )
        labels = (torch.rand(number, generator=generator) < 0.5).float()
        pairs = PairBatch(segments, labels, torch.ones(number))
    windows = None if sizes.windows is None else windows_for(sizes.windows, generator)
    return OfflineBatch(pairs=pairs, windows=windows)


@pytest.mark.parametrize(("bias", "expected"), [(1.0, 0.496259), (0.5, 0.902607), (0.0, 1.855706)])
def test_the_contrastive_loss_by_hand(bias, expected):
    loss = contrastive_loss(BEFORE, GRADES, 0.1, bias)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_the_distance_of_a_step_by_hand():
    mean, action = torch.tensor([0.5, -0.5]), torch.tensor([-0.1, 0.3])
    assert half_distance(mean, action).item() == pytest.approx(0.5)


def test_the_order_of_a_batch_changes_nothing():
    order = torch.tensor([2, 0, 1])
    shuffled = contrastive_loss(BEFORE[order], GRADES[order], 0.1, 0.5)
    torch.testing.assert_close(shuffled, contrastive_loss(BEFORE, GRADES, 0.1, 0.5))


def test_without_a_bias_the_worst_window_alone_has_no_gradient():
    distance = BEFORE.clone().requires_grad_()
    contrastive_loss(distance, GRADES, 0.1, 0.0).backward()
    assert distance.grad[2] == 0
    assert (distance.grad[:2] > 0).all()


def test_the_predictor_learns_first_and_the_policy_after_it():
    agent = make()
    parts = {"predictor": agent.predictor, "policy": agent.policy}
    for update in range(5):
        before = {name: [one.clone() for one in part.parameters()] for name, part in parts.items()}
        metrics = agent.update(batch_for(agent, update))
        assert all(bool(value.isfinite()) for value in metrics.values())
        moved = {
            name: any(
                not torch.equal(old, new)
                for old, new in zip(before[name], part.parameters(), strict=True)
            )
            for name, part in parts.items()
        }
        assert moved == {"predictor": update < 3, "policy": update >= 3}
    assert agent.batch_sizes.pairs == 0
    assert agent.batch_sizes.windows.anchor == "last"


@pytest.mark.parametrize(
    "config", [SMALL, dataclasses.replace(SMALL, smoothness=0.0, shift_std=0.0)]
)
def test_learning_goes_on_bit_for_bit_after_a_restart(config):
    whole, first = make(config), make(config)
    for update in range(6):
        whole.update(batch_for(whole, update))
        if update < 2:
            first.update(batch_for(first, update))
    second = make(config, seed=1)
    second.load_state_dict(first.state_dict())
    second.generator.set_state(first.generator.get_state())
    for update in range(2, 6):
        second.update(batch_for(second, update))
    for ours, others in zip(whole.policy.parameters(), second.policy.parameters(), strict=True):
        assert torch.equal(ours, others)


def test_neighbours_lie_within_their_window():
    agent = make(dataclasses.replace(SMALL, shift_std=2.0))
    sizes = agent.batch_sizes.windows
    assert sizes.steps == 4 + 6
    lengths = torch.tensor([10, 10, 10, 5, 3])
    windows = windows_for(sizes, torch.Generator().manual_seed(0), lengths)
    near = agent._neighbours(windows)
    assert near.mask.shape == (5, 2, 4)
    assert near.mask[:4].all()
    assert torch.equal(near.mask[4], (torch.arange(4) < 3).expand(2, -1))
    assert torch.equal(near.observations[:, 0], windows.observations[:, :4])
    for row, length in enumerate(lengths.tolist()):
        number = max(1, length - 3)
        starts = [
            start
            for start in range(number)
            if torch.equal(near.actions[row, 1], windows.actions[row, start : start + 4])
        ]
        assert starts


def test_smoothness_brings_the_scores_of_neighbours_together():
    def roughness(smoothness):
        agent = make(dataclasses.replace(SMALL, predictor_updates=60, smoothness=smoothness))
        for _ in range(60):
            metrics = agent.update(batch_for(agent))
        return float(metrics["roughness"])

    assert roughness(20.0) < 0.5 * roughness(1e-6)


def test_the_policy_moves_to_the_preferred_windows():
    agent = make(dataclasses.replace(SMALL, predictor_updates=1, temperature=0.1))
    agent.update(batch_for(agent))
    generator = torch.Generator().manual_seed(3)
    windows = windows_for(agent.batch_sizes.windows, generator)
    good = torch.arange(8) < 4
    actions = torch.where(good[:, None, None], 0.8, -0.8).expand(8, 4, 2).contiguous()
    windows = dataclasses.replace(windows, actions=actions)
    agent.segment_scores = lambda _: good.float()
    for _ in range(200):
        agent.update(OfflineBatch(windows=windows))
    assert agent.act(windows.observations[0], deterministic=True).mean() > 0.5


def test_segments_are_scored_by_the_predictor():
    agent = make()
    segments = batch_for(agent).pairs.segments
    scores = agent.segment_scores(segments)
    torch.testing.assert_close(scores, agent.predictor.eval().scores(segments))


def test_batches_that_lack_something_are_refused():
    agent = make()
    with pytest.raises(ValueError, match="the batch must hold what"):
        agent.update(OfflineBatch(pairs=batch_for(agent).pairs))
    with pytest.raises(ValueError, match="the batch must hold what"):
        agent.update(OfflineBatch(windows=batch_for(agent).windows))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"predictor_updates": 0}, "predictor_updates must be at least 1"),
        ({"smoothness": 0.0}, "shift_std must be 0 or above, and above 0 with smoothness alone"),
        (
            {"predictor": PreferenceTransformerConfig(normalize_observations=True)},
            "predictor must be without normalize_observations",
        ),
        ({"num_windows": 1}, "num_windows must be at least 2"),
        ({"segment_steps": 21}, "between 1 and the 20 places of the predictor"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"bias": 1.5}, r"bias must be in \[0, 1\]"),
    ],
)
def test_impossible_configurations_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        dataclasses.replace(SMALL, **options)
