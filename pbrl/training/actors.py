"""Policies for collections and reports, from what users have: names, runs, checkpoints, files."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pbrl.agents.acting import ActsByHistory, policy_of
from pbrl.agents.policies import Policy as DensityPolicy
from pbrl.agents.policies import evaluating
from pbrl.agents.ppo import PPO
from pbrl.agents.sac import SAC
from pbrl.agents.tanh_gaussian import squash
from pbrl.envs.vector import SerialVectorEnv
from pbrl.offline.collect.actors import (
    Actor,
    ChangedActor,
    NetworkActor,
    ScriptedExpert,
    UniformActor,
)
from pbrl.offline.collect.sources import RANDOM, SCRIPTED, Source
from pbrl.training.build import dimensions
from pbrl.training.run import load_agent
from pbrl.training.run_folder import is_run, read_config
from pbrl.training.saved import OFFLINE_KEY, load_offline

SB3_SUFFIX = ".zip"


@dataclass(frozen=True)
class SavedPolicy:
    """A policy that was learned.

    Attributes:
        act: maps observations `[env, obs]` to the policy's mode `[env, act]`, in [-1, 1].
        sample: maps observations and standard normal noise `[env, act]` to samples; None for a
            policy that is not sampled here.
        log_prob: maps observations and actions to log densities; None for one without.
        dimensions: sizes of an observation and of an action.
        sha256: of its parameters.
    """

    act: Callable[[Tensor], Tensor]
    sample: Callable[[Tensor, Tensor], Tensor] | None
    log_prob: Callable[[Tensor, Tensor], Tensor] | None
    dimensions: tuple[int, int]
    sha256: str


def load_actor(source: Source, env: SerialVectorEnv) -> tuple[Actor, dict[str, Any]]:
    """Return who acts for a source, and what is known of the policy.

    Args:
        source: the policy and what is done to its actions.
        env: the environments to act in.

    Returns:
        The actor, and plain values: `policy` and, for a network, the `sha256` of its parameters.

    Raises:
        FileNotFoundError: if the policy is neither a name nor a run, a checkpoint or a file.
        ValueError: if the policy does not fit the environment.
    """
    observation_dim, action_dim = dimensions(env)
    record: dict[str, Any] = {"policy": source.policy}
    actor: Actor
    if source.policy == RANDOM:
        actor = UniformActor(action_dim)
    elif source.policy == SCRIPTED:
        actor = ScriptedExpert(env, source.offset)
    else:
        saved = load_saved_policy(Path(source.policy), observation_dim, action_dim)
        record["sha256"] = saved.sha256
        actor = _network_actor(saved, source, action_dim)
    return ChangedActor(actor, source), record


def _network_actor(saved: SavedPolicy, source: Source, action_dim: int) -> NetworkActor:
    if not source.stochastic:
        return NetworkActor(saved.act)
    if saved.sample is None:
        raise ValueError(f"{source.policy} is not sampled here: leave out stochastic, add noise")
    return NetworkActor(saved.sample, action_dim)


def load_saved_policy(path: Path, observation_dim: int, action_dim: int) -> SavedPolicy:
    """Return a policy for observations and actions of these sizes.

    Args:
        path: folder of an online or offline run, whose newest checkpoint counts, a checkpoint of
            an online one, or a SAC file of stable-baselines3.
        observation_dim: size of an observation.
        action_dim: size of an action.

    Raises:
        FileNotFoundError: if there is none of these.
        ValueError: if the policy is for other sizes, or remembers what it saw.
    """
    if is_run(path) and OFFLINE_KEY in read_config(path):
        saved = _load_offline(path)
    else:
        saved = _of_gaussian(_load_gaussian(path))
    if saved.dimensions != (observation_dim, action_dim):
        raise ValueError(
            f"the policy {path} maps {saved.dimensions[0]} observed numbers to "
            f"{saved.dimensions[1]} actions, but {observation_dim} and {action_dim} are needed"
        )
    return saved


def load_sac(path: Path) -> SAC:
    """Return an agent that was saved.

    Args:
        path: folder of a run, whose newest checkpoint counts, one of its checkpoints, or a SAC
            file of stable-baselines3.

    Raises:
        FileNotFoundError: if there is none of these.
        ValueError: if the file holds another kind of agent.
    """
    agent = _load_gaussian(path)
    if not isinstance(agent, SAC):
        raise ValueError(f"the agent of {path} is a {type(agent).__name__}, and SAC is needed")
    return agent


def _load_gaussian(path: Path) -> SAC | PPO:
    """Return an agent on states that was saved; see `load_sac`."""
    if path.suffix != SB3_SUFFIX:
        agent, config = load_agent(path)
        if not isinstance(agent, SAC | PPO):
            raise ValueError(f"the agent of {path} is {config.agent}, which sees images")
        return agent
    from pbrl.agents.sb3_format import from_sb3

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    return from_sb3(path, generator=torch.Generator().manual_seed(0))


def _of_gaussian(agent: SAC | PPO) -> SavedPolicy:
    def sample(observations: Tensor, noise: Tensor) -> Tensor:
        mean, log_std = agent.distribution(observations)
        return squash(mean, log_std, noise)[0]

    return SavedPolicy(
        act=lambda observations: agent.act(observations, deterministic=True),
        sample=sample,
        log_prob=agent.log_prob,
        dimensions=(agent.observation_dim, agent.action_dim),
        sha256=parameters_checksum(agent.actor),
    )


def _load_offline(folder: Path) -> SavedPolicy:
    saved = load_offline(folder)
    if isinstance(saved.agent, ActsByHistory):
        raise ValueError(
            f"the policy {folder} acts by the history of its episode, which is not kept here"
        )
    policy = getattr(saved.agent, "policy", None)
    return SavedPolicy(
        act=policy_of(saved.agent, saved.view),
        sample=None,
        log_prob=_density(policy, saved.view) if isinstance(policy, DensityPolicy) else None,
        dimensions=(saved.observation_dim, saved.action_dim),
        sha256=parameters_checksum(policy) if isinstance(policy, nn.Module) else "",
    )


def _density(
    policy: DensityPolicy, view: Callable[[Tensor], Tensor] | None
) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Return the log density of a policy; None for one of fixed variance, which has none."""
    if policy.log_std is None:
        return None

    def log_prob(observations: Tensor, actions: Tensor) -> Tensor:
        with evaluating(policy):
            return policy.log_prob(observations if view is None else view(observations), actions)

    return log_prob


def parameters_checksum(network: nn.Module) -> str:
    """Return the SHA-256 of a network's parameters, as little-endian numbers in their order."""
    digest = hashlib.sha256()
    for parameter in network.parameters():
        digest.update(parameter.detach().cpu().numpy().astype("<f4").tobytes())
    return digest.hexdigest()
