import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pbrl.agents.bc import BC, BCConfig
from pbrl.agents.cpl import CPL, CPLConfig
from pbrl.agents.ipl import IPL, IPLConfig
from pbrl.agents.iql import IQL, IQLConfig
from pbrl.agents.p_iql import JointPIQL
from pbrl.agents.policies import PolicyConfig
from pbrl.agents.policy_scores import PolicyScoreConfig
from pbrl.agents.ppo import PPO, PPOConfig
from pbrl.agents.sac import SAC, SACConfig
from pbrl.batches import Batch, Rollout
from pbrl.encoders import EncoderConfig
from pbrl.pairs import ListBatch, OfflineBatch, PairBatch
from pbrl.seeds import AgentStack, check_takes_seeds, joined_batches
from pbrl.segments import Segments

OBS, ACT, BATCH, QUERY, TIME = 5, 2, 7, 6, 4
SEEDS = (3, 1, 4)
THIN = PolicyConfig(kind="fixed-variance", hidden_sizes=(8, 8), dropout=0.25)
GAUSSIAN = PolicyConfig(hidden_sizes=(8,), dropout=0.1)
CONFIGS = {
    "sac": (SAC, SACConfig(hidden_sizes=(8, 8), normalize_observations=True)),
    "sac, late actor": (
        SAC,
        SACConfig(hidden_sizes=(8,), actor_update_every=2, initialization="torch"),
    ),
    "ppo": (
        PPO,
        PPOConfig(
            hidden_sizes=(8,),
            value_hidden_sizes=(8,),
            horizon=TIME,
            num_epochs=2,
            num_minibatches=3,
            entropy_weight=0.1,
            largest_gradient=0.05,
        ),
    ),
    "iql": (IQL, IQLConfig(policy=GAUSSIAN, hidden_sizes=(8, 8), policy_decay_updates=10)),
    "iql, fixed variance": (IQL, IQLConfig(policy=THIN, hidden_sizes=(8,), num_critics=3)),
    "cpl": (CPL, CPLConfig(policy=THIN, pretraining_updates=2, warmup_updates=3)),
    "cpl-kl": (
        CPL,
        CPLConfig(
            policy=GAUSSIAN, score=PolicyScoreConfig(name="log-ratio"), pretraining_updates=2
        ),
    ),
    "cpl-bc": (
        CPL,
        CPLConfig(policy=THIN, cloning_weight=1.0, cloning_data="preferred", pretraining_updates=0),
    ),
    "cpl-dense": (CPL, CPLConfig(policy=THIN, lists="all-pairs", pretraining_updates=1)),
    "sft": (BC, BCConfig(policy=THIN, data="segments", preferred_after=2)),
    "bc": (BC, BCConfig(policy=GAUSSIAN)),
    "ipl": (IPL, IPLConfig(policy=GAUSSIAN, hidden_sizes=(8, 8))),
    "ipl, xql": (IPL, IPLConfig(policy=THIN, hidden_sizes=(8,), backbone="xql")),
    "ipl, awac": (IPL, IPLConfig(policy=GAUSSIAN, hidden_sizes=(8,), backbone="awac")),
}


def agent(kind, config, seed: int):
    return kind(config, OBS, ACT, generator=torch.Generator().manual_seed(seed))


def batch_of(seed: int, step: int) -> OfflineBatch | Batch:
    """Whatever a method may ask for, drawn for one seed and one update."""
    draws = torch.Generator().manual_seed(100 * seed + step)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draws)

    def segments(*shape: int) -> Segments:
        mask = torch.ones(*shape, TIME, dtype=torch.bool)
        mask[0, 0, -1] = False
        actions = normal(*shape, TIME, ACT).clamp(-0.9, 0.9)
        return Segments(normal(*shape, TIME, OBS), actions, mask, torch.zeros(*shape, TIME))

    labels = torch.randint(3, (QUERY,), generator=draws) / 2
    transitions = Batch(
        normal(BATCH, OBS),
        normal(BATCH, ACT).clamp(-0.9, 0.9),
        normal(BATCH),
        normal(BATCH, OBS),
        (normal(BATCH) > 1).float(),
    )
    return OfflineBatch(
        pairs=PairBatch(segments(QUERY, 2), labels, torch.rand(QUERY, generator=draws) + 0.5),
        transitions=transitions,
        lists=ListBatch(segments(QUERY, 3), normal(QUERY, 3)),
    )


def rollout_of(seed: int, step: int) -> Rollout:
    """Steps of a few environments in their order, drawn for one seed and one update."""
    draws = torch.Generator().manual_seed(100 * seed + step)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn((TIME, BATCH, *shape), generator=draws)

    terminated = (normal() > 1).float()
    return Rollout(
        normal(OBS),
        normal(ACT).clamp(-0.9, 0.9),
        normal(),
        normal(OBS),
        terminated,
        is_last=terminated.bool() | (normal() > 1),
    )


def given(kind, seed: int, step: int):
    if kind is PPO:
        return rollout_of(seed, step)
    batch = batch_of(seed, step)
    return batch.transitions if kind is SAC else batch


def close(found, expected) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_stack_learns_what_its_members_learn_alone(name):
    kind, config = CONFIGS[name]
    alone = [agent(kind, config, seed) for seed in SEEDS]
    stack = AgentStack([agent(kind, config, seed) for seed in SEEDS])
    for step in range(5):
        expected = [
            one.update(given(kind, seed, step)) for one, seed in zip(alone, SEEDS, strict=True)
        ]
        found = stack.update([given(kind, seed, step) for seed in SEEDS])
        for of_stack, of_one in zip(found, expected, strict=True):
            close(of_stack, of_one)
    stack.settle()
    observations = torch.linspace(-1, 1, 3 * OBS).view(3, OBS)
    for member, one in zip(stack.members, alone, strict=True):
        close(member.state_dict(), one.state_dict())
        close(member.act(observations, True), one.act(observations, True))
        close(member.act(observations, False), one.act(observations, False))


def test_seeds_do_not_touch_each_other():
    kind, config = CONFIGS["ipl"]
    first, second = (
        AgentStack([agent(kind, config, seed) for seed in seeds]) for seeds in ((3, 1), (3, 4))
    )
    for step in range(3):
        first.update([given(kind, seed, step) for seed in (3, 1)])
        second.update([given(kind, seed, step) for seed in (3, 4)])
    close(first.members[0].policy.state_dict(), second.members[0].policy.state_dict())
    difference = (
        first.members[1].policy.layers[0].weight - second.members[1].policy.layers[0].weight
    )
    assert difference.abs().max() > 0.1


@pytest.mark.parametrize("name", ["sac", "ppo", "cpl", "iql"])
def test_a_member_goes_on_alone_and_in_another_stack(name):
    """As after an interruption, or where a seed ends before the others."""
    kind, config = CONFIGS[name]
    alone = [agent(kind, config, seed) for seed in SEEDS]
    members = [agent(kind, config, seed) for seed in SEEDS]
    stack = AgentStack(members)

    def learn(step: int) -> None:
        for one, seed in zip(alone, SEEDS, strict=True):
            one.update(given(kind, seed, step))

    for step in range(3):
        learn(step)
        stack.update([given(kind, seed, step) for seed in SEEDS])
    stack.settle()
    for step in (3, 4):
        learn(step)
        for member, seed in zip(members, SEEDS, strict=True):
            member.update(given(kind, seed, step))
    learn(5)
    stack.update([given(kind, seed, 5) for seed in SEEDS])
    stack.settle()
    fresh = [agent(kind, config, seed) for seed in SEEDS]
    for one, member, single in zip(fresh, members, alone, strict=True):
        one.load_state_dict(member.state_dict())
        one.generator.set_state(single.generator.get_state())
    again = AgentStack(fresh[:2])
    learn(6)
    again.update([given(kind, seed, 6) for seed in SEEDS[:2]])
    again.settle()
    for one, single in zip(fresh[:2], alone[:2], strict=True):
        close(one.state_dict(), single.state_dict())


def test_a_new_critic_of_a_member_joins_the_stack():
    kind, config = CONFIGS["sac"]
    alone, members = ([agent(kind, config, seed) for seed in SEEDS] for _ in range(2))
    stack = AgentStack(members)
    for one, seed in zip(alone, SEEDS, strict=True):
        one.update(given(kind, seed, 0))
    stack.update([given(kind, seed, 0) for seed in SEEDS])
    stack.settle()
    for one, member in zip(alone, members, strict=True):
        one.reset_critic()
        member.reset_critic()
    stack.stack()
    for one, seed in zip(alone, SEEDS, strict=True):
        one.update(given(kind, seed, 1))
    stack.update([given(kind, seed, 1) for seed in SEEDS])
    stack.settle()
    for member, one in zip(members, alone, strict=True):
        close(member.state_dict(), one.state_dict())


def test_batches_of_unequal_length_are_padded():
    long, short = batch_of(0, 0).pairs, batch_of(1, 0).pairs
    cut = Segments(*(value[:, :, : TIME - 1] for value in vars(short.segments).values()))
    joined = joined_batches([long, replace(short, segments=cut)])
    assert joined.segments.mask.shape == (2, QUERY, 2, TIME)
    assert not joined.segments.mask[1, ..., -1].any()
    assert joined.starts is None


def test_what_cannot_be_stacked():
    with pytest.raises(ValueError, match="at least one member"):
        AgentStack([])
    kind, config = CONFIGS["bc"]
    with pytest.raises(ValueError, match="of one make"):
        AgentStack([agent(kind, config, 0), BC(config, OBS + 1, ACT, generator=torch.Generator())])
    ahead = agent(kind, config, 0)
    ahead.update(batch_of(0, 0))
    behind = agent(kind, config, 1)
    behind.update(batch_of(0, 0))
    behind.update(batch_of(0, 1))
    with pytest.raises(ValueError, match="as many steps"):
        AgentStack([ahead, behind])
    images = replace(config, policy=replace(THIN, encoder=EncoderConfig(image_shape=(3, 84, 84))))
    with pytest.raises(ValueError, match="takes no axis of seeds"):
        AgentStack([BC(images, 3 * 84 * 84, ACT, generator=torch.Generator())])
    with pytest.raises(ValueError, match="all have learned, or none"):
        AgentStack([agent(kind, config, 0), behind])
    with pytest.raises(ValueError, match="JointPIQL takes no axis of seeds"):
        check_takes_seeds(JointPIQL)
    with pytest.raises(ValueError, match="the same parts"):
        joined_batches([batch_of(0, 0), replace(batch_of(0, 0), lists=None)])


def test_the_example_of_the_documentation_runs():
    page = (Path(__file__).parents[1] / "docs" / "many-seeds.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict = {}
    exec(example, names)  # noqa: S102  our own page
    assert len(names["stack"].members) == 16
