import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from pbrl.agents.ipl import IPL, IPLConfig
from pbrl.agents.ipl_steps import join_steps
from pbrl.agents.policies import PolicyConfig
from pbrl.pairs import OfflineBatch, OfflineBatchSizes, PairBatch
from pbrl.preference import LossConfig
from pbrl.replay import Batch
from pbrl.segments import Segments

OBS, ACT, QUERY, TIME, MORE = 5, 2, 6, 4, 7
LABELS = (0.0, 1.0, 0.5, 1.0, 0.0, 1.0)
TERMINATED = (0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0)
POLICY = PolicyConfig(hidden_sizes=(8, 8))


def make_agent(seed: int = 0, **changes) -> IPL:
    settings = {
        "policy": POLICY,
        "hidden_sizes": (8, 8),
        "learning_rate": 0.01,
        "num_pairs": QUERY,
        "num_transitions": MORE,
        "segment_steps": None,
    }
    config = IPLConfig(**(settings | changes))
    return IPL(config, OBS, ACT, generator=torch.Generator().manual_seed(seed))


def wave(shape: tuple[int, ...], phase: float, scale: float = 1.0) -> Tensor:
    """Numbers that any program can make again."""
    numbers = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(0.7 * numbers + phase)).reshape(shape).float()


def pairs_of(step: int) -> PairBatch:
    seen = [wave((QUERY, TIME, OBS), phase + step) for phase in (10, 20)]
    done = [wave((QUERY, TIME, ACT), phase + step, 0.9) for phase in (30, 40)]
    mask = torch.ones(QUERY, 2, TIME, dtype=torch.bool)
    segments = Segments(torch.stack(seen, 1), torch.stack(done, 1), mask, torch.zeros(mask.shape))
    return PairBatch(segments, torch.tensor(LABELS), torch.ones(QUERY))


def transitions_of(step: int) -> Batch:
    return Batch(
        wave((MORE, OBS), 50 + step),
        wave((MORE, ACT), 60 + step, 0.9),
        torch.full((MORE,), math.nan),  # no learner of preferences reads a reward
        wave((MORE, OBS), 70 + step),
        torch.tensor(TERMINATED),
    )


def batch_of(step: int) -> OfflineBatch:
    return OfflineBatch(pairs=pairs_of(step), transitions=transitions_of(step))


def parameters(agent: IPL) -> Tensor:
    networks = (agent.policy, agent.critic, agent.target_critic, agent.value)
    return torch.cat(
        [nn.utils.parameters_to_vector(part.parameters()) for part in networks if part is not None]
    ).detach()


def checksum(network: nn.Module) -> float:
    return sum(
        float((parameter.detach().double() * wave(parameter.shape, phase + 0.5).double()).sum())
        for phase, parameter in enumerate(network.parameters())
    )


# What the official program computes from these weights and batches: losses of preference,
# regulariser and policy in four updates; checksums of policy, critics, targets and value after.
OFFICIAL = {
    "iql": (
        {},
        [
            (0.8548748, 0.8487756, 0.6363337),
            (1.4602786, 0.7341801, 1.3251718),
            (1.1240329, 0.5586653, 0.9752483),
            (0.7289841, 0.4111744, 2.6953912),
        ],
        (29.3294844, -69.3460663, -72.2657950, 25.0301917),
    ),
    "pairs alone": (
        {"num_transitions": 0, "regularizer": 3.0, "expectile": 0.75, "clip_value": False},
        [
            (0.8548748, 4.7287998, 0.8055119),
            (1.4562592, 4.0984378, 1.8640276),
            (1.0966880, 3.1411099, 1.1783237),
            (0.7035964, 2.6123672, 2.0152028),
        ],
        (29.5396317, -69.0722463, -72.2619053, 25.0077296),
    ),
    "values that are clipped": (
        {"regularizer": 400.0},
        [
            (1.0053610, 619.2860718, 0.6363337),
            (1.2354027, 567.0187988, 1.3250759),
            (1.0881674, 403.4382324, 0.9750947),
            (0.7735431, 298.8016663, 2.6931074),
        ],
        (29.3294099, -69.1131762, -72.2625888, 25.0302024),
    ),
    "awac": (
        {
            "backbone": "awac",
            "regularizer": 4.0,
            "policy": replace(POLICY, kind="fixed-variance"),
        },
        [
            (1.0622380, 11.4910412, 1.2553233),
            (0.7025905, 8.8828163, 1.0655622),
            (1.3680450, 7.9047585, 1.0667343),
            (1.3567191, 6.7366400, 1.0995026),
        ],
        (30.5717108, -70.1821527, -72.2775297),
    ),
}


@pytest.mark.parametrize("case", OFFICIAL)
def test_losses_and_parameters_are_those_of_the_official_program(case):
    changes, expected, checksums = OFFICIAL[case]
    agent = make_agent(**changes)
    networks = [agent.policy, agent.critic, agent.target_critic, agent.value]
    for phase, network in ((0, agent.policy), (10, agent.critic), (20, agent.value)):
        for place, parameter in enumerate([] if network is None else network.parameters()):
            parameter.data.copy_(wave(parameter.shape, phase + place, 0.5))
    agent.target_critic.load_state_dict(agent.critic.state_dict())
    for step, losses in enumerate(expected):
        batch = batch_of(step)
        if agent.config.num_transitions == 0:
            batch = OfflineBatch(pairs=batch.pairs)
        metrics = agent.update(batch)
        found = [metrics[name] for name in ("preference_loss", "regularizer", "policy_loss")]
        assert [float(loss) for loss in found] == pytest.approx(losses, rel=1e-5)
    reached = [checksum(network) for network in networks if network is not None]
    assert reached == pytest.approx(checksums, rel=1e-5)


@pytest.mark.parametrize(
    ("hidden_sizes", "observation_dim", "action_dim", "expected"),
    [
        ((256, 256, 256), 39, 4, 571_147),  # Meta-World
        ((64, 64), 39, 4, 27_851),
        ((35, 35), 39, 4, 11_176),
        ((256, 256), 11, 3, 278_537),  # hopper
        ((256, 256), 17, 6, 286_991),  # walker2d
        ((256, 256), 49, 7, 320_529),  # lift
        ((256, 256), 53, 7, 324_625),  # can
    ],
)
def test_the_papers_sizes(hidden_sizes, observation_dim, action_dim, expected):
    policy = PolicyConfig(hidden_sizes=hidden_sizes)
    config = IPLConfig(policy=policy, hidden_sizes=hidden_sizes)
    agent = IPL(config, observation_dim, action_dim, generator=torch.Generator())
    trained = [agent.policy, agent.critic, agent.value]
    assert sum(part.numel() for network in trained for part in network.parameters()) == expected


def test_a_segment_gives_one_transition_less_than_steps():
    pairs, more = pairs_of(0), transitions_of(0)
    steps = join_steps(pairs, more, 0.99, 0.25)
    num = QUERY * 2 * (TIME - 1)
    seen = pairs.segments.observations
    torch.testing.assert_close(steps.observations[:3], seen[0, 0, :-1])
    torch.testing.assert_close(steps.next_observations[3:6], seen[0, 1, 1:])
    torch.testing.assert_close(steps.actions[num - 3 : num], pairs.segments.actions[-1, 1, :-1])
    torch.testing.assert_close(steps.next_observations[num:], more.next_observations)
    assert torch.equal(steps.discount[:num], torch.full((num,), 0.99))
    assert steps.discount[num:].tolist() == pytest.approx([0.99 * (1 - end) for end in TERMINATED])
    assert float(steps.weights[:num].sum()) == pytest.approx(0.75)
    assert float(steps.weights[num:].sum()) == pytest.approx(0.25)
    alone = join_steps(pairs, None, 0.99, 0.25)
    assert float(alone.weights.sum()) == pytest.approx(1.0)
    assert alone.in_segment.shape == (QUERY, 2, TIME - 1)


def test_the_preference_loss_sees_the_segments_alone():
    one, other = make_agent(), make_agent()
    more = transitions_of(5)
    first = one.update(batch_of(0))
    second = other.update(OfflineBatch(pairs=pairs_of(0), transitions=more))
    assert float(first["preference_loss"]) != 0
    # V has moved by other states before the critics look at it, so compare without that step.
    one, other = make_agent(learning_rate=1e-12), make_agent(learning_rate=1e-12)
    first = one.update(batch_of(0))
    second = other.update(OfflineBatch(pairs=pairs_of(0), transitions=more))
    torch.testing.assert_close(first["preference_loss"], second["preference_loss"])
    assert float((first["regularizer"] - second["regularizer"]).abs()) > 1e-4


def test_a_constant_in_q_moves_the_regulariser_alone():
    one, other = make_agent(learning_rate=1e-12), make_agent(learning_rate=1e-12)
    other.critic.layers[-2].bias.data += 3.0
    first, second = one.update(batch_of(0)), other.update(batch_of(0))
    torch.testing.assert_close(
        first["preference_loss"], second["preference_loss"], rtol=1e-4, atol=1e-5
    )
    assert float(second["regularizer"] - first["regularizer"]) > 1.0


def test_padding_is_never_seen():
    def padded(value: float) -> OfflineBatch:
        pairs = pairs_of(0)
        segments = pairs.segments
        mask = segments.mask.clone()
        mask[1, 0, 2:] = False
        seen, done = segments.observations.clone(), segments.actions.clone()
        seen[1, 0, 2:], done[1, 0, 2:] = value, value
        hidden = Segments(seen, done, mask, segments.true_rewards)
        return OfflineBatch(
            pairs=PairBatch(hidden, pairs.labels, pairs.weights), transitions=transitions_of(0)
        )

    one, other = make_agent(), make_agent()
    for _ in range(3):
        one.update(padded(0.0))
        other.update(padded(5.0))
    torch.testing.assert_close(parameters(one), parameters(other), rtol=0, atol=0)


def test_swapping_the_segments_and_the_label_changes_nothing():
    def swapped(batch: OfflineBatch) -> OfflineBatch:
        pairs = batch.pairs
        parts = (pairs.segments.observations, pairs.segments.actions)
        more = (pairs.segments.mask, pairs.segments.true_rewards)
        segments = Segments(*(part.flip(1) for part in (*parts, *more)))
        flipped = PairBatch(segments, 1 - pairs.labels, pairs.weights)
        return OfflineBatch(pairs=flipped, transitions=batch.transitions)

    one, other = make_agent(), make_agent()
    for step in range(4):
        one.update(batch_of(step))
        other.update(swapped(batch_of(step)))
    torch.testing.assert_close(parameters(one), parameters(other), rtol=1e-4, atol=1e-5)


def test_a_weight_of_two_is_a_pair_given_twice():
    pairs = pairs_of(0)
    rows = torch.tensor([0, 1, 1])
    twice = PairBatch(pairs.segments[rows], pairs.labels[rows], torch.ones(3))
    weighted = PairBatch(pairs.segments[:2], pairs.labels[:2], torch.tensor([1.0, 2.0]))
    losses = [
        make_agent(num_transitions=0, learning_rate=1e-12).update(OfflineBatch(pairs=part))
        for part in (twice, weighted)
    ]
    torch.testing.assert_close(losses[0]["preference_loss"], losses[1]["preference_loss"])


@pytest.mark.parametrize("loss", ["logistic", "biased", "hinge", "ipo"])
@pytest.mark.parametrize("backbone", ["iql", "xql", "awac"])
def test_every_backbone_learns_its_pairs_by_every_loss(backbone, loss):
    agent = make_agent(backbone=backbone, loss=LossConfig(name=loss))
    losses = [agent.update(batch_of(0))["preference_loss"] for _ in range(15)]
    assert losses[-1] < losses[0]
    assert parameters(agent).isfinite().all()


def test_the_policy_moves_to_what_is_preferred():
    # The action alone decides; preferred segments act by +0.5, others by -0.5.
    generator = torch.Generator().manual_seed(0)
    agent = make_agent(num_transitions=0, learning_rate=0.02)
    mask = torch.ones(32, 2, TIME, dtype=torch.bool)
    for _ in range(200):
        labels = torch.randint(2, (32,), generator=generator).float()
        sign = torch.stack([1 - 2 * labels, 2 * labels - 1], 1)[..., None, None]
        noise = 0.1 * torch.randn(32, 2, TIME, ACT, generator=generator)
        seen = torch.randn(32, 2, TIME, OBS, generator=generator)
        segments = Segments(seen, 0.5 * sign + noise, mask, torch.zeros(mask.shape))
        pairs = PairBatch(segments, labels, torch.ones(32))
        metrics = agent.update(OfflineBatch(pairs=pairs))
    assert float(metrics["accuracy"]) > 0.9
    # Over five seeds the least mean was 0.33.
    seen = torch.randn(50, OBS, generator=generator)
    assert float(agent.act(seen, deterministic=True).mean()) > 0.25


@pytest.mark.parametrize("backbone", ["iql", "awac"])
def test_a_restored_agent_goes_on_bit_for_bit(backbone, tmp_path):
    changes = {"backbone": backbone, "policy": replace(POLICY, dropout=0.1)}
    agent = make_agent(**changes)
    for step in range(3):
        agent.update(batch_of(step))
    torch.save(agent.state_dict(), tmp_path / "agent.pt")
    restored = make_agent(seed=9, **changes)
    restored.load_state_dict(torch.load(tmp_path / "agent.pt", weights_only=True))
    restored.generator.set_state(agent.generator.get_state())
    for step in range(3, 6):
        assert agent.update(batch_of(step)) == restored.update(batch_of(step))
    assert torch.equal(parameters(agent), parameters(restored))


def test_the_same_seed_is_the_same_run():
    agents = [make_agent(seed, backbone="awac") for seed in (1, 1, 2)]
    for agent in agents:
        for step in range(3):
            agent.update(batch_of(step))
    assert torch.equal(parameters(agents[0]), parameters(agents[1]))
    assert not torch.equal(parameters(agents[0]), parameters(agents[2]))


def test_a_batch_without_what_was_asked_for_is_refused():
    for batch in (OfflineBatch(pairs=pairs_of(0)), OfflineBatch(transitions=transitions_of(0))):
        with pytest.raises(ValueError, match="pairs=6, transitions=7"):
            make_agent().update(batch)
    with pytest.raises(ValueError, match="transitions=0"):
        make_agent(num_transitions=0).update(batch_of(0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_sizes": (0,)},
        {"regularizer": 0.0},
        {"expectile": 1.0},
        {"gumbel_temperature": 0.0},
        {"max_exponent": 0.0},
        {"inverse_temperature": -1.0},
        {"max_weight": 0.0},
        {"learning_rate": 0.0},
        {"discount": 1.0},
        {"target_rate": 0.0},
        {"num_critics": 0},
        {"num_pairs": 0},
        {"dataset_weight": 1.1},
        {"segment_steps": 1},
    ],
)
def test_illegal_settings_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        IPLConfig(**wrong)


def test_defaults_are_the_papers_on_locomotion():
    config = IPLConfig()
    assert (config.regularizer, config.expectile, config.inverse_temperature) == (0.5, 0.7, 3.0)
    assert (config.learning_rate, config.discount, config.target_rate) == (3e-4, 0.99, 0.005)
    expected = OfflineBatchSizes(pairs=8, transitions=256, segment_steps=64, least_steps=2)
    assert make_agent(num_pairs=8, num_transitions=256, segment_steps=64).batch_sizes == expected
