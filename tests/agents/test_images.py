"""Agents that see images: sizes, gradients, learning."""

import pytest
import torch
from torch import Tensor, nn

from pbrl.agents.bc import BC, BCConfig
from pbrl.agents.cpl import CPL, CPLConfig
from pbrl.agents.ipl import IPLConfig
from pbrl.agents.iql import IQL, IQLConfig
from pbrl.agents.p_iql import JointPIQL, JointPIQLConfig
from pbrl.agents.policies import PolicyConfig
from pbrl.encoders import EncoderConfig
from pbrl.pairs import OfflineBatch, PairBatch
from pbrl.replay import Batch
from pbrl.reward_learning import RewardLearner, RewardLearningConfig
from pbrl.rewards import RewardConfig, RewardEnsemble
from pbrl.segments import Segments

SHAPE, SIZE, QUERY, TIME = (1, 16, 16), 256, 8, 3
ENCODER = EncoderConfig(image_shape=SHAPE, num_filters=4, num_features=8, shift=1)
POLICY = PolicyConfig(kind="fixed-variance", hidden_sizes=(16,), encoder=ENCODER)
PAPER = PolicyConfig(
    kind="fixed-variance",
    hidden_sizes=(1024, 1024),
    dropout=0.5,
    initialization="torch",  # quicker, and of the same size
    encoder=EncoderConfig(),
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def count(*networks: nn.Module) -> int:
    return sum(part.numel() for network in networks for part in network.parameters())


def reward_config(hidden_sizes: tuple[int, ...], encoder: EncoderConfig) -> RewardConfig:
    return RewardConfig(
        num_members=1,
        hidden_sizes=hidden_sizes,
        activation="relu",
        output="linear",
        encoder=encoder,
    )


def make_p_iql(**changes) -> JointPIQL:
    iql = IQLConfig(policy=POLICY, hidden_sizes=(16,), learning_rate=0.01, batch_size=5)
    settings = {"iql": iql, "reward": reward_config((16,), ENCODER), "num_pairs": QUERY}
    return JointPIQL(JointPIQLConfig(**settings | changes), SIZE, 1, generator=generator())


def pairs_of(seed: int) -> PairBatch:
    """Bright images call for an action of +0.5 and dark ones for -0.5; the second gives in half."""
    draw = generator(seed)
    is_bright = torch.randint(2, (QUERY, 2, TIME), generator=draw)
    noise = torch.randint(40, (QUERY, 2, TIME, SIZE), generator=draw)
    images = (200 * is_bright[..., None] + noise).to(torch.uint8)
    labels = torch.randint(2, (QUERY,), generator=draw).float()
    sign = torch.stack([1 - 2 * labels, 2 * labels - 1], 1)[..., None]
    actions = (0.5 * sign * (2 * is_bright - 1))[..., None]
    mask = torch.ones(QUERY, 2, TIME, dtype=torch.bool)
    segments = Segments(images, actions, mask, torch.zeros(mask.shape))
    return PairBatch(segments, labels, torch.ones(QUERY))


def transitions_of(seed: int) -> Batch:
    images = torch.randint(256, (2, 5, SIZE), generator=generator(seed), dtype=torch.uint8)
    return Batch(images[0], torch.zeros(5, 1), torch.ones(5), images[1], torch.zeros(5))


def actions_for(agent, *levels: int) -> list[float]:
    images = torch.tensor(levels, dtype=torch.uint8)[:, None].expand(-1, SIZE)
    return agent.act(images, deterministic=True)[:, 0].tolist()


def test_the_papers_sizes():
    size = 3 * 64 * 64
    cpl = CPL(CPLConfig(policy=PAPER), size, 4, generator=generator())
    assert count(cpl.policy) == 2_134_714
    config = JointPIQLConfig(
        iql=IQLConfig(policy=PAPER, hidden_sizes=(1024, 1024), initialization="torch"),
        reward=reward_config((1024, 1024), EncoderConfig()),
    )
    p_iql = JointPIQL(config, size, 4, generator=generator())
    iql = p_iql.iql
    assert count(iql.policy, iql.critic, iql.value, p_iql.reward) == 9_587_488


def test_cpl_learns_from_images():
    config = CPLConfig(
        policy=POLICY, pretraining_updates=10, warmup_updates=0, learning_rate=0.01,
    )  # fmt: skip
    agent = CPL(config, SIZE, 1, generator=generator())
    for seed in range(60):
        agent.update(OfflineBatch(pairs=pairs_of(seed)))
    bright, dark = actions_for(agent, 220, 20)
    assert bright > 0.2
    assert dark < -0.2


def test_the_preferred_are_cloned_from_images():
    config = BCConfig(policy=POLICY, data="segments", preferred_after=0, learning_rate=0.01)
    agent = BC(config, SIZE, 1, generator=generator())
    for seed in range(40):
        agent.update(OfflineBatch(pairs=pairs_of(seed)))
    bright, dark = actions_for(agent, 220, 20)
    assert bright > 0.3
    assert dark < -0.3
    steps = BC(BCConfig(policy=POLICY), SIZE, 1, generator=generator())
    assert steps.update(OfflineBatch(transitions=transitions_of(0)))["cloning_loss"].isfinite()


def test_p_iql_learns_a_reward_from_images():
    agent = make_p_iql(reward_learning_rate=0.01)
    metrics = [agent.update(OfflineBatch(pairs=pairs_of(seed))) for seed in range(40)]
    assert sum(float(part["reward_accuracy"]) for part in metrics[-10:]) / 10 > 0.75
    assert all(value.isfinite() for value in metrics[-1].values())


def test_the_encoder_learns_from_the_policy_alone():
    agent = make_p_iql(reward_updates=0)
    encoder = agent.iql.policy.encoder

    def changed(before: list[Tensor]) -> bool:
        now = encoder.parameters()
        return any(not torch.equal(a, b) for a, b in zip(before, now, strict=True))

    before = [part.detach().clone() for part in encoder.parameters()]
    agent.iql.policy_optimizer.step = lambda: None
    agent.update(OfflineBatch(pairs=pairs_of(0)))
    assert not changed(before)
    del agent.iql.policy_optimizer.step
    agent.update(OfflineBatch(pairs=pairs_of(0)))
    assert changed(before)


def test_transitions_of_the_dataset_join_in():
    agent = make_p_iql(dataset_weight=0.5)
    batch = OfflineBatch(pairs=pairs_of(0), transitions=transitions_of(0))
    assert all(value.isfinite() for value in agent.update(batch).values())
    alone = IQL(IQLConfig(policy=POLICY, hidden_sizes=(16,)), SIZE, 1, generator=generator())
    metrics = alone.update(OfflineBatch(transitions=transitions_of(0)))
    assert all(value.isfinite() for value in metrics.values())


def test_a_restored_agent_goes_on_bit_for_bit(tmp_path):
    agents = [make_p_iql(), make_p_iql()]
    for seed in range(2):
        agents[0].update(OfflineBatch(pairs=pairs_of(seed)))
    torch.save(agents[0].state_dict(), tmp_path / "agent.pt")
    agents[1].load_state_dict(torch.load(tmp_path / "agent.pt", weights_only=True))
    agents[1].iql.generator.set_state(agents[0].iql.generator.get_state())
    for seed in range(2, 4):
        first, second = (agent.update(OfflineBatch(pairs=pairs_of(seed))) for agent in agents)
        assert first == second


def test_what_cannot_see_images_says_so():
    with pytest.raises(ValueError, match="policy must be without an encoder"):
        IPLConfig(policy=POLICY)
    ensemble = RewardEnsemble(reward_config((16,), ENCODER), SIZE, 1)
    with pytest.raises(ValueError, match="a reward on images is learned beside its agent"):
        RewardLearner(RewardLearningConfig(), ensemble)
    with pytest.raises(ValueError, match="normalize_observations must be False"):
        RewardConfig(encoder=ENCODER, normalize_observations=True)
