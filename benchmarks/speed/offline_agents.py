"""Updates of CPL, IPL, IQL and P-IQL at the papers' sizes and at small ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pbrl.agents.cpl import CPL, CPLConfig
from pbrl.agents.ipl import IPL, IPLConfig
from pbrl.agents.iql import IQL, IQLConfig
from pbrl.agents.p_iql import JointPIQL, JointPIQLConfig
from pbrl.agents.policies import PolicyConfig
from pbrl.rewards import RewardConfig
from speed import official
from speed.measure import Row
from speed.offline_updates import (
    Contest,
    Size,
    make_batch,
    their_pairs,
    their_transitions,
    updates,
)

SMALL = (256, 256)
CPL_SIZES = (Size(name="paper"), Size(name="small", pairs=32, hidden_sizes=SMALL))
IPL_SIZES = (
    Size(
        name="paper, hopper",
        observation_dim=11,
        action_dim=3,
        pairs=8,
        transitions=256,
        hidden_sizes=SMALL,
        dropout=0.0,
    ),
    Size(
        name="paper, Meta-World",
        observation_dim=39,
        pairs=16,
        steps=16,
        hidden_sizes=(256, 256, 256),
        dropout=0.0,
    ),
    Size(name="small", pairs=32, steps=16, hidden_sizes=(128, 128), dropout=0.0),
)
IQL_SIZES = (
    Size(
        name="paper, hopper",
        observation_dim=11,
        action_dim=3,
        pairs=0,
        transitions=256,
        hidden_sizes=SMALL,
        dropout=0.0,
    ),
)
STD = {"state_dependent_log_std": False, "squash_normal": False, "log_std_tanh": False}


def cpl_updates(rounds: int, checkout: Path | None) -> list[Row]:
    """Time CPL's update on preferences, drop-out included."""
    return updates("CPL", CPL_SIZES, build_cpl, checkout, rounds)


def p_iql_updates(rounds: int, checkout: Path | None) -> list[Row]:
    """Time P-IQL while its reward still learns."""
    return updates("P-IQL", CPL_SIZES, build_p_iql, checkout, rounds)


def ipl_updates(rounds: int, checkout: Path | None) -> list[Row]:
    """Time IPL on IQL."""
    return updates("IPL", IPL_SIZES, build_ipl, checkout, rounds)


def iql_updates(rounds: int, checkout: Path | None) -> list[Row]:
    """Time IQL on given rewards."""
    return updates("IQL", IQL_SIZES, build_iql, checkout, rounds)


def build_cpl(size: Size, checkout: Path | None) -> Contest:
    """Return both CPLs after their pre-training, at the full learning rate."""
    config = CPLConfig(policy=_fixed_variance(size), pretraining_updates=0, batch_size=size.pairs)
    agent, batch = _make(CPL, config, size), make_batch(size)
    if checkout is None:
        return Contest(agent, batch, None, {})
    found = official.classes(
        checkout,
        algorithm="research.algs.cpl:CPL",
        network="research.networks.base:ActorPolicy",
        actor="research.networks.mlp:ContinuousMLPActor",
    )
    theirs = found.algorithm(
        *official.spaces(size.observation_dim, size.action_dim),
        found.network,
        object,
        network_kwargs=_networks(size, found),
        optim_kwargs={"lr": config.learning_rate},
        device=size.device,
        alpha=config.score.scale,
        contrastive_bias=config.loss.bias,
    )
    step = _step(theirs, {"actor": agent.policy}, their_pairs(batch))
    return Contest(agent, batch, step, {"preference_loss": "cpl_loss"})


def build_p_iql(size: Size, checkout: Path | None) -> Contest:
    """Return both P-IQLs of the CPL paper."""
    hidden = size.hidden_sizes
    config = JointPIQLConfig(
        iql=IQLConfig(policy=_fixed_variance(size), hidden_sizes=hidden),
        reward=RewardConfig(num_members=1, hidden_sizes=hidden, activation="relu", output="linear"),
        num_pairs=size.pairs,
    )
    agent, batch = _make(JointPIQL, config, size), make_batch(size)
    if checkout is None:
        return Contest(agent, batch, None, {})
    found = official.classes(
        checkout,
        algorithm="research.algs.piql:PIQL",
        network="research.networks.base:ActorCriticValueRewardPolicy",
        actor="research.networks.mlp:ContinuousMLPActor",
        critic="research.networks.mlp:ContinuousMLPCritic",
        value="research.networks.mlp:MLPValue",
    )
    kwargs = _networks(size, found) | {"reward_class": found.critic}
    theirs = found.algorithm(
        *official.spaces(size.observation_dim, size.action_dim),
        found.network,
        object,
        network_kwargs=kwargs | {"reward_kwargs": {"ensemble_size": 1}},
        optim_kwargs={"lr": config.iql.learning_rate},
        device=size.device,
        beta=1 / config.iql.inverse_temperature,
        expectile=config.iql.expectile,
        reward_steps=config.reward_updates,
    )
    parts = _parts(agent.iql) | {"reward": agent.reward.network}
    pairs = their_pairs(batch)
    discount = torch.full((size.pairs, size.steps), config.iql.discount, device=size.device)
    step = _step(theirs, parts, pairs | {"discount_1": discount, "discount_2": discount})
    return Contest(agent, batch, step, {"value_loss": "v_loss", "reward_loss": "reward_loss"})


def build_ipl(size: Size, checkout: Path | None) -> Contest:
    """Return both IPLs on IQL."""
    config = IPLConfig(
        policy=PolicyConfig(hidden_sizes=size.hidden_sizes),
        hidden_sizes=size.hidden_sizes,
        num_pairs=size.pairs,
        num_transitions=size.transitions,
    )
    agent, batch = _make(IPL, config, size), make_batch(size)
    if checkout is None:
        return Contest(agent, batch, None, {})
    theirs = _official_iql(
        "research.algs.ipl_iql:IPL_IQL",
        size,
        checkout,
        beta=1 / config.inverse_temperature,
        expectile=config.expectile,
        chi2_coeff=config.regularizer,
        chi2_replay_weight=config.dataset_weight,
        value_replay_weight=config.dataset_weight,
        policy_replay_weight=config.dataset_weight,
    )
    theirs._data_pts_seen = theirs._flops = 0
    transitions = their_transitions(batch) if size.transitions else None
    step = _step(theirs, _parts(agent), (transitions, their_pairs(batch)))
    names = {"preference_loss": "q_loss", "regularizer": "chi2_loss", "policy_loss": "actor_loss"}
    return Contest(agent, batch, step, names)


def build_iql(size: Size, checkout: Path | None) -> Contest:
    """Return both IQLs, theirs of the IPL program."""
    config = IQLConfig(
        policy=PolicyConfig(hidden_sizes=size.hidden_sizes),
        hidden_sizes=size.hidden_sizes,
        policy_decay_updates=None,
    )
    agent, batch = _make(IQL, config, size), make_batch(size)
    if checkout is None:
        return Contest(agent, batch, None, {})
    theirs = _official_iql(
        "research.algs.iql:IQL",
        size,
        checkout,
        beta=1 / config.inverse_temperature,
        expectile=config.expectile,
    )
    step = _step(theirs, _parts(agent), their_transitions(batch))
    return Contest(agent, batch, step, {"value_loss": "v_loss"})


def _fixed_variance(size: Size) -> PolicyConfig:
    return PolicyConfig(kind="fixed-variance", hidden_sizes=size.hidden_sizes, dropout=size.dropout)


def _make(kind: type[Any], config: Any, size: Size) -> Any:
    generator = torch.Generator(size.device).manual_seed(0)
    dims = (size.observation_dim, size.action_dim)
    return kind(config, *dims, device=size.device, generator=generator)


def _parts(agent: IPL | IQL) -> dict[str, nn.Module]:
    assert agent.value is not None  # on IQL
    return {"actor": agent.policy, "critic": agent.critic, "value": agent.value}


def _networks(size: Size, found: Any, **of_actor: Any) -> dict[str, Any]:
    """Return the arguments of their networks."""
    actor = {"output_act": nn.Tanh, "dropout": size.dropout} | of_actor
    kwargs = {
        "actor_class": found.actor,
        "actor_kwargs": actor,
        "hidden_layers": list(size.hidden_sizes),
        "ortho_init": True,
    }
    if hasattr(found, "critic"):
        kwargs |= {"critic_class": found.critic, "critic_kwargs": {"ensemble_size": 2}}
        kwargs |= {"value_class": found.value, "value_kwargs": {"ensemble_size": 1}}
    return kwargs


def _official_iql(target: str, size: Size, checkout: Path, **settings: Any) -> Any:
    """Return an agent of the IPL program."""
    found = official.classes(
        checkout,
        algorithm=target,
        network="research.networks.base:ActorCriticValuePolicy",
        buffer="research.datasets.replay_buffer:ReplayBuffer",
        actor="research.networks.mlp:DiagonalGaussianMLPActor",
        critic="research.networks.mlp:ContinuousMLPCritic",
        value="research.networks.mlp:MLPValue",
    )
    return found.algorithm(
        official.Spaces(size.observation_dim, size.action_dim),
        found.network,
        found.buffer,
        network_kwargs=_networks(size, found, **STD),
        optim_kwargs={"lr": 3e-4},
        device=size.device,
        offline_steps=-1,
        random_steps=0,
        **settings,
    )


def _step(theirs: Any, parts: dict[str, nn.Module], batch: Any) -> Callable[[], dict[str, float]]:
    """Return one step of theirs, from our parameters."""
    for name, part in parts.items():
        official.copy_parameters(part, getattr(theirs.network, name))
    if hasattr(theirs, "target_network"):
        theirs.target_network.load_state_dict(theirs.network.state_dict())
    theirs.setup_optimizers()
    theirs.train()
    return lambda: dict(theirs.train_step(batch, 1, 1_000_000))
