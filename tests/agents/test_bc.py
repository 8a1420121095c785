from dataclasses import replace

import pytest
import torch

from pbrl.agents.bc import BC, BCConfig, cloning_loss
from pbrl.agents.policies import PolicyConfig
from pbrl.pairs import OfflineBatch, OfflineBatchSizes, PairBatch
from pbrl.replay import Batch
from pbrl.segments import Segments

SMALL = BCConfig(policy=PolicyConfig(kind="fixed-variance", hidden_sizes=(32,)), learning_rate=1e-2)


def agent(config=SMALL, observation_dim=1, action_dim=1):
    return BC(config, observation_dim, action_dim, generator=torch.Generator().manual_seed(0))


def pairs(labels, first=-0.5, second=0.5, steps=4):
    """Pairs whose first segment always does `first` and whose second does `second`."""
    size = len(labels)
    observations = torch.linspace(-1, 1, steps).expand(size, 2, steps)[..., None]
    actions = torch.tensor([first, second])[None, :, None, None].expand(size, 2, steps, 1)
    mask = torch.ones(size, 2, steps, dtype=torch.bool)
    segments = Segments(observations, actions, mask, torch.zeros(size, 2, steps))
    return OfflineBatch(pairs=PairBatch(segments, torch.tensor(labels), torch.ones(size)))


def learn(made, batch, updates=150):
    for _ in range(updates):
        metrics = made.update(batch)
    return made.act(torch.zeros(1, 1), deterministic=True).item(), metrics["cloning_loss"].item()


def test_transitions_are_imitated():
    seen = torch.linspace(-1, 1, 50)[:, None]
    given = Batch(seen, 0.5 * seen, torch.zeros(50), seen, torch.zeros(50))
    made = agent()
    for _ in range(200):
        made.update(OfflineBatch(transitions=given))
    acted = made.act(seen, deterministic=True)
    torch.testing.assert_close(acted, 0.5 * seen, atol=0.1, rtol=0)


def test_both_segments_of_a_pair_are_imitated_whatever_the_label():
    made = agent(replace(SMALL, data="segments", batch_size=2))
    acted, loss = learn(made, pairs([1.0, 1.0]))
    assert acted == pytest.approx(0.0, abs=0.05)
    assert loss == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    ("labels", "expected"), [([1.0, 0.8], 0.5), ([0.0, 0.2], -0.5), ([0.5, 0.5], 0.0)]
)
def test_fine_tuning_imitates_the_preferred_one_and_of_a_tie_both(labels, expected):
    made = agent(replace(SMALL, data="segments", batch_size=2, preferred_after=0))
    assert learn(made, pairs(labels))[0] == pytest.approx(expected, abs=0.05)


def test_fine_tuning_begins_after_its_number_of_updates():
    config = replace(SMALL, data="segments", batch_size=1, preferred_after=2)
    made, both = agent(config), agent(replace(config, preferred_after=None))
    losses = [(made.update(pairs([1.0])), both.update(pairs([1.0]))) for _ in range(3)]
    same = [a["cloning_loss"].item() == b["cloning_loss"].item() for a, b in losses]
    assert same == [True, True, False]


def test_cloning_loss_by_hand():
    # the six steps of a worked example: squared distances 0.01, 0.04, 0.08, 1, 1, 1
    log_prob = -torch.tensor([[[0.01, 0.04, 0.08], [1.0, 1.0, 1.0]]])
    everything = torch.ones(1, 2, 3, dtype=torch.bool)
    assert cloning_loss(log_prob, everything).item() == pytest.approx(0.521667, abs=1e-6)
    everything[:, 1] = False
    assert cloning_loss(log_prob, everything).item() == pytest.approx(0.13 / 3)


def test_padding_is_not_imitated():
    batch = pairs([1.0])
    padded = batch.pairs.segments.mask.clone()
    padded[..., -1] = False
    batch.pairs.segments.actions.expand(1, 2, 4, 1)
    actions = batch.pairs.segments.actions.clone()
    actions[..., -1, :] = float("inf")
    segments = replace(batch.pairs.segments, mask=padded, actions=actions)
    made = agent(replace(SMALL, data="segments"))
    given = OfflineBatch(pairs=replace(batch.pairs, segments=segments))
    assert made.update(given)["cloning_loss"].isfinite()


def test_what_is_drawn():
    assert SMALL.batch_sizes() == OfflineBatchSizes(transitions=256)
    sft = replace(SMALL, data="segments", batch_size=8, segment_steps=16)
    assert sft.batch_sizes() == OfflineBatchSizes(pairs=8, segment_steps=16)
    with pytest.raises(ValueError, match="transitions=256"):
        agent().update(OfflineBatch())


def test_the_papers_size():
    made = agent(BCConfig(), 35, 4)
    assert sum(p.numel() for p in made.policy.parameters()) == 283_140


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preferred_after": 5}, "preferred_after must be None"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)
