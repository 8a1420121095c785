import dataclasses

import pytest
import torch

from pbrl.agents.learning_rates import RateSchedule
from pbrl.agents.oppo import OPPO
from pbrl.agents.oppo_config import OPPOConfig
from pbrl.agents.oppo_encoder import HindsightEncoder, RecentWindows
from pbrl.agents.oppo_steps import steps_of_pairs
from pbrl.agents.sequence_policy import SequencePolicyConfig
from pbrl.pairs import OfflineBatch, PairBatch
from pbrl.segments import Segments
from pbrl.transformer import TransformerConfig
from pbrl.windows import WindowBatch

RATE = RateSchedule(peak=3e-3)
SMALL = OPPOConfig(
    policy=SequencePolicyConfig(
        transformer=TransformerConfig(width=16, num_layers=1), context=5, num_timesteps=30
    ),
    encoder=TransformerConfig(width=16, num_layers=1, num_heads=2, kind="bidirectional"),
    context_dim=3,
    num_pairs=6,
    windows=8,
    segment_steps=5,
    policy_rate=RATE,
    encoder_rate=RATE,
    context_rate=1e-2,
    num_nearest=2,
    num_recent=16,
)
HUMAN = dataclasses.replace(
    SMALL,
    policy=dataclasses.replace(SMALL.policy, predict_observations=True, timed_condition=False),
    schedule="alternate",
    norm_term="hinge",
    preference_weight=10.0,
    released_ties=True,
    observation_weight=1.0,
    observation_noise=0.1,
    initial_std=1.0,
)
SCRIPTED = dataclasses.replace(SMALL, windows=0, reconstruct_pairs=True, pooling="sum-all")


def make(config=SMALL, seed=0):
    return OPPO(config, 3, 2, generator=torch.Generator().manual_seed(seed))


def batch_for(agent, seed=0, labels=None):
    generator = torch.Generator().manual_seed(seed)
    sizes = agent.batch_sizes
    number = sizes.pairs
    mask = torch.ones(number, 2, 5, dtype=torch.bool)
    mask[0, 1, 3:] = False
    segments = Segments(
        torch.randn(number, 2, 5, 3, generator=generator) * mask[..., None],
        (torch.rand(number, 2, 5, 2, generator=generator) * 2 - 1) * mask[..., None],
        mask,
        torch.zeros(number, 2, 5),
    )
    if labels is None:
        labels = (torch.rand(number, generator=generator) < 0.5).float()
    starts = torch.randint(20, (number, 2), generator=generator)
    pairs = PairBatch(segments, labels, torch.ones(number), starts)
    windows = None
    if sizes.windows is not None:
        count = sizes.windows.number
        seen = torch.arange(5) >= torch.randint(4, (count, 1), generator=generator)
        observations = torch.randn(count, 5, 3, generator=generator) * seen[..., None]
        windows = WindowBatch(
            observations=observations,
            actions=torch.tanh(observations[..., :2]) * seen[..., None],
            rewards=torch.zeros(count, 5),
            returns_to_go=torch.zeros(count, 5),
            timesteps=torch.arange(5) * seen,
            mask=seen,
            terminated=torch.zeros(count, dtype=torch.bool),
            rows=torch.zeros(count, dtype=torch.int64),
        )
    return OfflineBatch(pairs=pairs, windows=windows)


def parameters(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_networks_have_the_sizes_of_the_released_code():
    """1,471,647 parameters on hopper; of those it never uses BERT's pooler, two tables of words,
    and the heads for the next state and the return."""
    agent = OPPO(OPPOConfig(), 11, 3, generator=torch.Generator())
    number = sum(p.numel() for part in (agent.policy, agent.encoder) for p in part.parameters())
    unused = (128**2 + 128) + 2 * 128 + (128 * 11 + 11) + (128 + 1)
    assert number + agent.context.numel() == 1_471_647 - unused


@pytest.mark.parametrize("config", [SMALL, HUMAN, SCRIPTED], ids=["joint", "human", "scripted"])
def test_learning_is_finite_and_goes_on_bit_for_bit_after_a_restart(config):
    whole, first = make(config), make(config)
    for step in range(6):
        metrics = whole.update(batch_for(whole, step))
        assert all(bool(value.isfinite()) for value in metrics.values())
        assert not any(value.requires_grad for value in metrics.values())
    for step in range(3):
        first.update(batch_for(first, step))
    second = make(config, seed=7)
    second.load_state_dict(first.state_dict())
    second.generator.set_state(first.generator.get_state())
    for step in range(3, 6):
        second.update(batch_for(second, step))
    for part in ("policy", "encoder"):
        assert torch.equal(parameters(getattr(whole, part)), parameters(getattr(second, part)))
    assert torch.equal(whole.context, second.context)
    assert torch.equal(whole.acting_context(), second.acting_context())


def test_preferences_move_the_context_and_the_codes_but_never_the_policy():
    agent = make(dataclasses.replace(SMALL, norm_weight=0.0))
    batch = batch_for(agent)
    steps = steps_of_pairs(batch.pairs)
    codes = agent.encoder(*steps)
    agent._preference(agent.context.detach(), codes, batch.pairs).backward()
    assert agent.context.grad is None
    assert all(p.grad is None for p in agent.policy.parameters())
    assert any(bool((p.grad != 0).any()) for p in agent.encoder.parameters())
    before = parameters(agent.encoder), parameters(agent.policy), agent.context.detach().clone()
    agent._move_context(steps, batch.pairs)
    assert torch.equal(before[0], parameters(agent.encoder))
    assert torch.equal(before[1], parameters(agent.policy))
    assert not torch.equal(before[2], agent.context)


def test_ties_alone_leave_the_context():
    agent = make(dataclasses.replace(SMALL, weight_decay=0.0))
    before = agent.context.detach().clone()
    metrics = agent.update(batch_for(agent, labels=torch.full((6,), 0.5)))
    assert metrics["preference_loss"] == metrics["encoder_preference_loss"] == 0
    assert torch.equal(before, agent.context)


def test_swapping_segments_and_labels_changes_nothing():
    agent = make()
    batch = batch_for(agent)
    pairs = batch.pairs
    swapped = PairBatch(
        Segments(*(getattr(pairs.segments, f.name).flip(1) for f in dataclasses.fields(Segments))),
        1 - pairs.labels,
        pairs.weights,
        pairs.starts.flip(1),
    )
    agent.encoder.eval()
    losses = [
        agent._preference(agent.context, agent.encoder(*steps_of_pairs(each)), each)
        for each in (pairs, swapped)
    ]
    torch.testing.assert_close(*losses)


def test_people_s_program_learns_behaviour_in_every_second_update():
    agent = make(HUMAN)
    moved = []
    for step in range(4):
        assert (agent.batch_sizes.windows is None) == (step % 2 == 1)
        before = parameters(agent.policy), parameters(agent.encoder)
        agent.update(batch_for(agent, step))
        after = parameters(agent.policy), parameters(agent.encoder)
        moved.append([not torch.equal(a, b) for a, b in zip(before, after, strict=True)])
    assert moved == [[True, True], [False, True]] * 2
    assert all(p.requires_grad for p in agent.policy.parameters())


def test_without_preferences_codes_tell_the_policy_what_observations_do_not():
    """Of actions that are +0.8 or -0.8 in a whole window, the first is a coin to who sees no code,
    which costs 0.64 in one step of five; the others can be read from the one before."""
    none = {"dropout": 0.0, "attention_dropout": 0.0}
    config = dataclasses.replace(
        SMALL,
        preference_weight=0.0,
        num_pairs=1,
        windows=32,
        policy_rate=RateSchedule(peak=1e-2),
        encoder_rate=RateSchedule(peak=1e-2),
        policy=dataclasses.replace(
            SMALL.policy, transformer=dataclasses.replace(SMALL.policy.transformer, **none)
        ),
        encoder=dataclasses.replace(SMALL.encoder, **none),
    )

    def learned(agent):
        losses = []
        for step in range(30):
            batch = batch_for(agent, step)
            generator = torch.Generator().manual_seed(step)
            sign = torch.randint(2, (32, 1, 1), generator=generator) * 1.6 - 0.8
            windows = dataclasses.replace(
                batch.windows,
                observations=torch.randn(32, 5, 3, generator=generator),
                actions=sign.expand(32, 5, 2),
                timesteps=torch.arange(5).expand(32, 5),
                mask=torch.ones(32, 5, dtype=torch.bool),
            )
            batch = dataclasses.replace(batch, windows=windows)
            losses.append(float(agent.update(batch)["imitation_loss"]))
        return sum(losses[-5:]) / 5

    blind = make(config)
    blind.encoder.forward = lambda _, __, ___, mask: torch.zeros(len(mask), 3, requires_grad=True)
    assert learned(blind) > 0.12
    assert learned(make(config)) < 0.02


def test_the_imitation_of_pairs_counts_as_much_as_told_in_an_alternate_update():
    def moved(weight):
        config = dataclasses.replace(
            HUMAN, pair_imitation_weight=weight, preference_weight=0.0, norm_weight=0.0
        )
        agent = make(config)
        agent._step = lambda loss, **_: losses.append(loss.detach())
        losses = []
        pairs = batch_for(agent).pairs
        metrics = agent._learn_codes(steps_of_pairs(pairs), pairs)
        return losses[0] / metrics["pair_imitation_loss"]

    torch.testing.assert_close(torch.stack([moved(1.0), moved(2.0)]), torch.tensor([1.0, 2.0]))


def encoder(pooling):
    config = TransformerConfig(width=16, num_layers=2, num_heads=2, kind="bidirectional")
    return HindsightEncoder(
        config, (3, 2), 4, num_timesteps=20, pooling=pooling,
        generator=torch.Generator().manual_seed(0),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("pooling", ["mean", "sum", "sum-all"])
def test_more_padding_changes_a_code_only_as_the_released_code_pools(pooling):
    generator = torch.Generator().manual_seed(1)
    seen, done = torch.randn(2, 3, 3, generator=generator), torch.rand(2, 3, 2, generator=generator)
    model = encoder(pooling)

    def code(padding):
        extra = torch.zeros(2, padding, 1)
        return model(
            torch.cat([extra.expand(-1, -1, 3), seen], 1),
            torch.cat([extra.expand(-1, -1, 2), done], 1),
            torch.cat([torch.zeros(2, padding), torch.arange(3.0).expand(2, -1)], 1).long(),
            torch.arange(3 + padding).expand(2, -1) >= padding,
        )

    difference = (code(1) - code(4)).abs().max()
    assert difference > 0.1 if pooling == "sum-all" else difference < 1e-5
    ratio = encoder("sum")(seen, done, torch.zeros(2, 3).long(), torch.ones(2, 3).bool())
    mean = encoder("mean")(seen, done, torch.zeros(2, 3).long(), torch.ones(2, 3).bool())
    bias = model.head.bias
    torch.testing.assert_close(ratio - bias, 6 * (mean - bias), rtol=1e-4, atol=1e-4)


def test_recent_windows_replace_the_oldest():
    recent = RecentWindows(4, 2, (1, 1), torch.device("cpu"))
    for first in (0, 3, 6):
        values = torch.arange(first, first + 3.0)[:, None, None].expand(-1, 2, 1)
        mask = torch.ones(3, 2, dtype=torch.bool)
        recent.add(values, values, torch.zeros(3, 2).long(), mask)
    assert sorted(recent.observations[:, 0, 0].tolist()) == [5, 6, 7, 8]
    short = torch.full((1, 1, 1), 9.0)
    recent.add(short, short, torch.zeros(1, 1).long(), torch.ones(1, 1, dtype=torch.bool))
    row = int((recent.observations[:, 0, 0] == 9).nonzero())
    assert recent.mask[row].tolist() == [True, False]


def test_decodings():
    agent = make()
    raw = agent.acting_context()  # nothing is held yet
    assert torch.equal(raw, agent.context)
    agent.update(batch_for(agent))
    kinds = {
        kind: setattr(agent, "config", dataclasses.replace(SMALL, decoding=kind))
        or agent.acting_context()
        for kind in ("raw", "unit", "nearest")
    }
    torch.testing.assert_close(kinds["raw"], agent.context.detach())
    torch.testing.assert_close(kinds["unit"].norm(), torch.tensor(1.0))
    codes = agent.recent.codes(agent.encoder.eval())
    order = (codes - agent.context).norm(dim=1).argsort()
    torch.testing.assert_close(kinds["nearest"], codes[order[:2]].mean(0).detach())


def test_several_environments_act_as_each_alone_and_by_the_context():
    agent = make()
    agent.update(batch_for(agent))
    observations = torch.randn(8, 3, 3, generator=torch.Generator().manual_seed(5))
    together, alone = agent.actor(), [agent.actor() for _ in range(3)]
    for step, seen in enumerate(observations):
        if step == 4:
            together.begin(torch.tensor([True, False, False]))
            alone[0].begin(torch.tensor([True]))
        expected = torch.cat([act(seen[i : i + 1]) for i, act in enumerate(alone)])
        torch.testing.assert_close(together(seen), expected, rtol=0, atol=1e-5)


def test_another_context_acts_differently():
    agent = make(dataclasses.replace(SMALL, decoding="raw"))
    observations = torch.randn(4, 3, generator=torch.Generator().manual_seed(5))
    before = agent.act(observations, deterministic=True)
    agent.context.data = -agent.context.data
    assert (agent.act(observations, deterministic=True) - before).abs().max() > 1e-4


def test_the_context_of_the_released_programs_stands_at_the_newest_step_alone():
    agent = make(dataclasses.replace(SMALL, acting="last", decoding="raw"))
    act, seen = agent.actor(), []
    policy_forward = agent.policy.forward
    agent.policy.forward = lambda c, *rest, **kw: seen.append(c) or policy_forward(c, *rest, **kw)
    for _ in range(2):
        act(torch.ones(1, 3))
    assert len(seen) == 2
    for conditions in seen:  # the newest step stands last
        torch.testing.assert_close(conditions[0, -1], agent.context.detach())
        assert bool((conditions[0, :-1] == 0).all())


def test_segments_are_scored_by_their_distance():
    agent = make()
    segments = batch_for(agent).pairs.segments
    scores = agent.segment_scores(segments)
    assert scores.shape == (6, 2)
    assert bool((scores < 0).all())
    assert not scores.requires_grad


def test_batches_that_lack_something_are_refused():
    agent = make()
    full = batch_for(agent)
    with pytest.raises(ValueError, match="the batch must hold"):
        agent.update(OfflineBatch(pairs=full.pairs))
    with pytest.raises(ValueError, match="the batch must hold"):
        agent.update(OfflineBatch(windows=full.windows))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"windows": 0}, "unless a joint update reconstructs pairs"),
        ({"windows": 0, "schedule": "alternate", "reconstruct_pairs": True}, "windows"),
        ({"encoder": TransformerConfig()}, "bidirectional"),
        ({"num_recent": 1}, "num_recent"),
        ({"observation_weight": 1.0}, "predict_observations"),
        ({"context_rate": 0.0}, "context_rate"),
        ({"num_pairs": 0}, "num_pairs"),
    ],
)
def test_impossible_configurations_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        dataclasses.replace(SMALL, **options)
