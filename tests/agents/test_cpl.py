import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pbrl.agents.cpl import CPL, CPLConfig
from pbrl.agents.policies import PolicyConfig
from pbrl.agents.policy_scores import PolicyScoreConfig
from pbrl.label_noise import LabelNoiseConfig
from pbrl.pairs import ListBatch, OfflineBatch, OfflineBatchSizes, PairBatch
from pbrl.preference import LossConfig, biased_loss
from pbrl.segments import Segments

OBS, ACT, QUERY, TIME = 5, 2, 6, 4
POLICY = PolicyConfig(kind="fixed-variance", hidden_sizes=(8, 8))
LABELS = (0.0, 1.0, 0.5, 1.0, 0.0, 1.0)
GRADES = (3.0, 1.0, 2.0, 6.0, 4.0, 5.0)


def config(**changes) -> CPLConfig:
    settings = {
        "policy": POLICY,
        "pretraining_updates": 2,
        "learning_rate": 0.01,
        "warmup_updates": 2,
        "batch_size": QUERY,
        "items": QUERY,
    }
    return CPLConfig(**(settings | changes))


def biased(bias: float) -> LossConfig:
    return LossConfig(name="biased", bias=bias)


def make_agent(seed: int = 0, **changes) -> CPL:
    return CPL(config(**changes), OBS, ACT, generator=torch.Generator().manual_seed(seed))


def wave(shape: tuple[int, ...], phase: float, scale: float = 1.0) -> Tensor:
    """Numbers that any program can make again."""
    numbers = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(0.7 * numbers + phase)).reshape(shape).float()


def segments_of(observations: Tensor, actions: Tensor) -> Segments:
    mask = torch.ones(observations.shape[:-1], dtype=torch.bool)
    return Segments(observations, actions, mask, torch.zeros(mask.shape))


def steps(phase: float) -> tuple[Tensor, Tensor]:
    """Observations and actions of six segments."""
    return wave((QUERY, TIME, OBS), 10 + phase), wave((QUERY, TIME, ACT), 30 + phase, 0.9)


def pairs_of(step: int) -> OfflineBatch:
    (seen_0, done_0), (seen_1, done_1) = steps(step), steps(10 + step)
    segments = segments_of(torch.stack([seen_0, seen_1], 1), torch.stack([done_0, done_1], 1))
    return OfflineBatch(pairs=PairBatch(segments, torch.tensor(LABELS), torch.ones(QUERY)))


def list_of(step: int) -> OfflineBatch:
    segments = segments_of(*(part[None] for part in steps(step)))
    return OfflineBatch(lists=ListBatch(segments, torch.tensor([GRADES])))


def parameters(agent: CPL) -> Tensor:
    return torch.nn.utils.parameters_to_vector(agent.policy.parameters()).detach().clone()


# What the official program computes from these weights, batches and labels: losses of two updates
# of cloning, of three on preferences, and a checksum of the parameters after them.
GAUSSIAN = replace(POLICY, kind="gaussian")
OFFICIAL = {
    "cpl": (
        {"loss": biased(0.5)},
        (1.2099428, 1.1462301, 0.8689653, 0.9178414, 0.8222143),
        30.4363525,
    ),
    "cpl-bc": (
        {"loss": biased(1.0), "cloning_weight": 1.0, "cloning_data": "preferred"},
        (1.1443545, 0.9500241, 0.7742982, 0.8454204, 0.7269890),
        30.4687131,
    ),
    "cpl-kl": (
        {
            "loss": biased(0.75),
            "score": PolicyScoreConfig(name="log-ratio", scale=0.2),
            "warmup_scale": 0.1,
        },
        (1.2099428, 1.1462301, 0.6931472, 0.6928133, 0.6931546),
        30.8097900,
    ),
    "gaussian": (
        {"policy": GAUSSIAN},
        (2.6796169, 2.6299257, 1.0305483, 1.0046489, 0.9769030),
        28.8746204,
    ),
    "no pre-training": (
        {"pretraining_updates": 0},
        (0.7924380, 0.7676855, 0.8809331, 0.9345274, 0.8550522),
        30.6157572,
    ),
    "dense": (
        {"lists": "all-pairs"},
        (1.1784462, 1.0950383, 0.7706718, 0.7829956, 0.8097984),
        30.6805219,
    ),
    "dense, far apart": (
        {
            "lists": "all-pairs",
            "compat": "nonzero-mean",
            "score": PolicyScoreConfig(scale=40.0),
            "loss": biased(1.0),
            "pretraining_updates": 0,
        },
        (30.1518974, 104.4500961, 20.7953739, 82.5574417, 44.2740211),
        30.1853783,
    ),
}


@pytest.mark.parametrize("case", OFFICIAL)
def test_losses_and_parameters_are_those_of_the_official_program(case):
    changes, expected, checksum = OFFICIAL[case]
    agent = make_agent(**({"loss": biased(0.5)} | changes))
    for phase, parameter in enumerate(agent.policy.parameters()):
        parameter.data.copy_(wave(parameter.shape, phase, 0.5))
    batch_of = list_of if "dense" in case else pairs_of
    losses = []
    for step in range(5):
        metrics = agent.update(batch_of(step))
        is_cloning = step < agent.config.pretraining_updates
        losses.append(float(metrics["cloning_loss" if is_cloning else "preference_loss"]))
    assert losses == pytest.approx(expected, rel=1e-5)
    reached = sum(
        float((parameter.detach().double() * wave(parameter.shape, phase + 0.5).double()).sum())
        for phase, parameter in enumerate(agent.policy.parameters())
    )
    assert reached == pytest.approx(checksum, rel=1e-5)


def test_the_optimiser_starts_anew_and_warms_up_after_pre_training():
    agent = make_agent(warmup_scale=0.5)
    rates, counts = [], []
    for step in range(6):
        rates.append(agent.learning_rate())
        agent.update(pairs_of(step))
        state = agent.optimizer.state_dict()["state"]
        counts.append(int(state[0]["step"]) if state else 0)
    assert rates == pytest.approx([0.01, 0.01, 0.0025, 0.005, 0.005, 0.005])
    assert counts == [1, 0, 1, 2, 3, 4]  # forgotten at the switch


def test_without_pre_training_there_is_no_warm_up():
    assert make_agent(pretraining_updates=0).learning_rate() == 0.01


def test_the_log_ratio_is_zero_at_the_switch():
    log_ratio = PolicyScoreConfig(name="log-ratio")
    agent = make_agent(score=log_ratio, loss=LossConfig(name="logistic"))
    assert torch.equal(agent.policy.mean(torch.ones(1, OBS)), agent.policy.mean(torch.ones(1, OBS)))
    for step in range(2):
        agent.update(pairs_of(step))
    metrics = agent.update(pairs_of(2))
    assert float(metrics["preference_loss"]) == pytest.approx(math.log(2))
    assert float(metrics["score_preferred"]) == 0 == float(metrics["score_other"])


def test_the_reference_has_no_dropout_and_stays():
    policy = replace(POLICY, dropout=0.5)
    agent = make_agent(policy=policy, score=PolicyScoreConfig(name="log-ratio"))
    for step in range(2):
        agent.update(pairs_of(step))
    before = agent.reference.state_dict()
    metrics = agent.update(pairs_of(2))
    assert float(metrics["score_other"]) != 0  # the policy drops units, the reference does not
    for step in range(3):
        agent.update(pairs_of(step))
    assert not agent.reference.training
    assert all(torch.equal(before[name], now) for name, now in agent.reference.state_dict().items())
    with torch.no_grad():
        assert not torch.equal(agent.policy.layers[0].weight, agent.reference.layers[0].weight)


def test_one_step_in_one_state_is_direct_preference_optimisation():
    beta = 0.3
    score = PolicyScoreConfig(name="log-ratio", scale=beta)
    agent = make_agent(score=score, loss=LossConfig(), policy=GAUSSIAN, learning_rate=0.1)
    seen = torch.randn(1, 1, 1, OBS).expand(QUERY, 2, 1, OBS)
    done = torch.rand(QUERY, 2, 1, ACT)
    pairs = PairBatch(segments_of(seen, done), torch.tensor(LABELS), torch.ones(QUERY))
    for _ in range(3):
        agent.update(OfflineBatch(pairs=pairs))
    with torch.no_grad():
        ratio = agent.log_prob(seen, done) - agent.reference.log_prob(seen, done)
        margin = beta * (ratio[:, 1, 0] - ratio[:, 0, 0])
        labels = pairs.labels
        expected = -labels * margin.sigmoid().log() - (1 - labels) * (-margin).sigmoid().log()
    assert float(margin.abs().max()) > 0.01
    metrics = agent.update(OfflineBatch(pairs=pairs))
    assert float(metrics["preference_loss"]) == pytest.approx(float(expected.mean()), rel=1e-5)


def test_ipo_on_averages_starts_at_its_square():
    score = PolicyScoreConfig(name="log-ratio", scale=1.0, average=True)
    agent = make_agent(score=score, loss=LossConfig(name="ipo", scale=0.25))
    for step in range(2):
        agent.update(pairs_of(step))
    # 1 / (4 beta^2) on five decided pairs, 0 on the tie.
    expected = 5 / 6 / (4 * 0.25**2)
    assert float(agent.update(pairs_of(2))["preference_loss"]) == pytest.approx(expected)


@pytest.mark.parametrize("loss", ["logistic", "smoothed", "robust", "hinge", "ipo", "biased"])
@pytest.mark.parametrize("score", ["likelihood", "log-ratio", "distance"])
def test_every_score_goes_with_every_loss(score, loss):
    agent = make_agent(
        score=PolicyScoreConfig(name=score),
        loss=LossConfig(name=loss, flip_rate=0.1),
        cloning_weight=0.1,
        warmup_updates=0,
    )
    for step in range(2):
        agent.update(pairs_of(step))
    before = parameters(agent)
    first = agent.update(pairs_of(0))["preference_loss"]
    for _ in range(15):
        last = agent.update(pairs_of(0))["preference_loss"]
    assert last < first
    assert not torch.equal(before, parameters(agent))


@pytest.mark.parametrize("lists", ["all-pairs", "plackett-luce", "lipo"])
def test_lists_are_learned(lists):
    agent = make_agent(lists=lists, warmup_updates=0, score=PolicyScoreConfig(scale=1.0))
    losses = [agent.update(list_of(0)).get("preference_loss") for _ in range(30)]
    assert losses[-1] < losses[2]
    assert agent.batch_sizes == OfflineBatchSizes(lists=QUERY, items=QUERY)


def test_a_batch_of_one_list_is_the_mean_of_its_pairs():
    seen, done = steps(0)
    first, second = torch.triu_indices(QUERY, QUERY, offset=1)
    grades = torch.tensor(GRADES)
    labels = (grades[second] > grades[first]).float()
    segments = segments_of(
        torch.stack([seen[first], seen[second]], 1), torch.stack([done[first], done[second]], 1)
    )
    pairs = OfflineBatch(pairs=PairBatch(segments, labels, torch.ones(len(labels))))
    dense, sparse = make_agent(lists="all-pairs"), make_agent()
    for _ in range(5):
        one, other = dense.update(list_of(0)), sparse.update(pairs)
    assert float(one["preference_loss"]) == pytest.approx(float(other["preference_loss"]), rel=1e-5)
    torch.testing.assert_close(parameters(dense), parameters(sparse), rtol=1e-4, atol=1e-5)


def swapped(batch: OfflineBatch) -> OfflineBatch:
    pairs = batch.pairs
    segments = Segments(
        pairs.segments.observations.flip(1),
        pairs.segments.actions.flip(1),
        pairs.segments.mask.flip(1),
        pairs.segments.true_rewards.flip(1),
    )
    return OfflineBatch(pairs=PairBatch(segments, 1 - pairs.labels, pairs.weights))


def test_swapping_the_segments_and_the_label_changes_nothing():
    one, other = make_agent(cloning_data="preferred"), make_agent(cloning_data="preferred")
    for step in range(4):
        one.update(pairs_of(step))
        other.update(swapped(pairs_of(step)))
    torch.testing.assert_close(parameters(one), parameters(other), rtol=1e-4, atol=1e-6)


def test_padding_is_never_seen():
    def padded(batch: OfflineBatch, value: float) -> OfflineBatch:
        pairs = batch.pairs
        seen, done = pairs.segments.observations.clone(), pairs.segments.actions.clone()
        mask = pairs.segments.mask.clone()
        mask[1, 0, 2:] = False
        seen[1, 0, 2:], done[1, 0, 2:] = value, value
        segments = Segments(seen, done, mask, pairs.segments.true_rewards)
        return OfflineBatch(pairs=PairBatch(segments, pairs.labels, pairs.weights))

    one, other = make_agent(cloning_weight=0.5), make_agent(cloning_weight=0.5)
    for step in range(4):
        one.update(padded(pairs_of(step), 0.0))
        other.update(padded(pairs_of(step), 7.0))
    torch.testing.assert_close(parameters(one), parameters(other), rtol=0, atol=0)


def test_a_weight_of_two_is_a_pair_given_twice():
    pairs = pairs_of(0).pairs
    rows = torch.tensor([0, 1, 1])
    twice = PairBatch(pairs.segments[rows], pairs.labels[rows], torch.ones(3))
    weighted = PairBatch(pairs.segments[:2], pairs.labels[:2], torch.tensor([1.0, 2.0]))
    losses = [
        make_agent(pretraining_updates=0).update(OfflineBatch(pairs=part))["preference_loss"]
        for part in (twice, weighted)
    ]
    torch.testing.assert_close(*losses)


def test_cloning_of_the_preferred_takes_both_sides_of_a_tie():
    agent = make_agent(cloning_data="preferred")
    pairs = pairs_of(0).pairs
    with torch.no_grad():
        log_prob = agent.policy.log_prob(pairs.segments.observations, pairs.segments.actions)
    chosen = [log_prob[0, 0], log_prob[1, 1], log_prob[2, 0], log_prob[2, 1]]
    chosen += [log_prob[3, 1], log_prob[4, 0], log_prob[5, 1]]
    expected = -torch.cat(chosen).mean()
    assert float(agent.update(pairs_of(0))["cloning_loss"]) == pytest.approx(float(expected))


def test_the_policy_moves_to_what_is_preferred():
    # The action alone decides; preferred segments act by +0.5, others by -0.5.
    generator = torch.Generator().manual_seed(0)
    agent = make_agent(warmup_updates=0, pretraining_updates=20)
    for _ in range(100):
        labels = torch.randint(2, (32,), generator=generator).float()
        sign = torch.stack([1 - 2 * labels, 2 * labels - 1], 1)[..., None, None]
        noise = 0.1 * torch.randn(32, 2, TIME, ACT, generator=generator)
        seen = torch.randn(32, 2, TIME, OBS, generator=generator)
        pairs = PairBatch(segments_of(seen, 0.5 * sign + noise), labels, torch.ones(32))
        metrics = agent.update(OfflineBatch(pairs=pairs))
    assert float(metrics["accuracy"]) > 0.9
    assert float(agent.act(torch.randn(50, OBS), deterministic=True).mean()) > 0.4


def test_label_noise_finds_flipped_labels():
    generator = torch.Generator().manual_seed(0)
    noise = LabelNoiseConfig(reliability=0.9, rate=0.1, warmup_updates=40)
    score = PolicyScoreConfig(scale=2.0)
    agent = make_agent(label_noise=noise, score=score, warmup_updates=0, loss=LossConfig())
    for _ in range(200):
        labels = torch.randint(2, (64,), generator=generator).float()
        sign = torch.stack([1 - 2 * labels, 2 * labels - 1], 1)[..., None, None]
        seen = torch.randn(64, 2, TIME, OBS, generator=generator)
        noisy = torch.where(torch.rand(64, generator=generator) < 0.2, 1 - labels, labels)
        segments = segments_of(seen, (0.5 * sign).expand(64, 2, TIME, ACT))
        agent.update(OfflineBatch(pairs=PairBatch(segments, noisy, torch.ones(64))))
    assert float(agent.label_noise.reliability) == pytest.approx(0.8, abs=0.05)


def test_recovery_of_the_optimal_policy():
    """One state, three actions, all ordered pairs with the labels of regret: Theorem 1."""
    optimum = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    cases = {
        (1.0, 1.0): (0.7, 0.2, 0.1),
        (0.1, 1.0): (0.7, 0.2, 0.1),
        (1.0, 0.5): (0.6377, 0.2678, 0.0945),
        (0.1, 0.5): (0.4017, 0.3210, 0.2772),
    }
    first, second = torch.tensor([(i, j) for i in range(3) for j in range(3) if i != j]).T
    for (alpha, bias), expected in cases.items():
        power = optimum**alpha
        labels = power[second] / (power[first] + power[second])
        logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=0
        )

        def closure():
            optimizer.zero_grad()  # noqa: B023
            scores = alpha * logits.log_softmax(0)  # noqa: B023
            loss = biased_loss(scores[first], scores[second], labels, bias).mean()  # noqa: B023
            loss.backward()
            return loss

        for _ in range(20):
            optimizer.step(closure)
        found = logits.detach().softmax(0)
        torch.testing.assert_close(
            found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=2e-4
        )


@pytest.mark.parametrize("num_before", [1, 2, 4])  # cloning, the switch, the warm-up
def test_a_restored_agent_goes_on_bit_for_bit(num_before, tmp_path):
    changes = {
        "policy": replace(POLICY, dropout=0.25),
        "score": PolicyScoreConfig(name="log-ratio"),
        "label_noise": LabelNoiseConfig(warmup_updates=1),
    }
    agent = make_agent(**changes)
    for step in range(num_before):
        agent.update(pairs_of(step))
    torch.save(agent.state_dict(), tmp_path / "agent.pt")
    restored = make_agent(seed=9, **changes)
    restored.load_state_dict(torch.load(tmp_path / "agent.pt", weights_only=True))
    restored.generator.set_state(agent.generator.get_state())
    for step in range(num_before, num_before + 4):
        expected = agent.update(pairs_of(step))
        assert expected == restored.update(pairs_of(step))
    assert torch.equal(parameters(agent), parameters(restored))


def test_the_same_seed_is_the_same_run():
    agents = [make_agent(seed, policy=replace(POLICY, dropout=0.25)) for seed in (1, 1, 2)]
    for agent in agents:
        for step in range(4):
            agent.update(pairs_of(step))
    assert torch.equal(parameters(agents[0]), parameters(agents[1]))
    assert not torch.equal(parameters(agents[0]), parameters(agents[2]))


def test_a_batch_without_what_was_asked_for_is_refused():
    with pytest.raises(ValueError, match="lists=6"):
        make_agent(lists="lipo").update(pairs_of(0))
    with pytest.raises(ValueError, match="pairs=6"):
        make_agent().update(list_of(0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"cloning_weight": -1.0},
        {"learning_rate": 0.0},
        {"warmup_updates": -1},
        {"warmup_scale": 0.0},
        {"pretraining_updates": -1},
        {"pretraining_updates": 0, "score": PolicyScoreConfig(name="log-ratio")},
        {"lists": "lipo", "cloning_data": "preferred"},
        {"lists": "lipo", "label_noise": LabelNoiseConfig()},
        {"compat": "nonzero-mean"},
        {"items": 1, "lists": "all-pairs"},
    ],
)
def test_illegal_settings_are_named(wrong):
    name = next(iter(wrong))
    with pytest.raises(ValueError, match=name):
        CPLConfig(**wrong)


def test_defaults_are_the_papers():
    defaults = CPLConfig()
    assert (defaults.score.scale, defaults.loss.name, defaults.loss.bias) == (0.1, "biased", 0.5)
    assert (defaults.learning_rate, defaults.pretraining_updates) == (1e-4, 200_000)
    assert (defaults.batch_size, defaults.warmup_updates) == (96, 10_000)
    agent = CPL(defaults, 35, 4, generator=torch.Generator())
    assert sum(parameter.numel() for parameter in agent.policy.parameters()) == 283_140
