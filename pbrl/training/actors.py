"""Actors for a collection from what users have: names, runs, checkpoints and files."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

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

SB3_SUFFIX = ".zip"


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
        actor = ScriptedExpert(env)
    else:
        agent = load_sac(Path(source.policy))
        found, expected = (agent.observation_dim, agent.action_dim), (observation_dim, action_dim)
        if found != expected:
            raise ValueError(
                f"{source.policy} maps {found[0]} observed numbers to {found[1]} actions, but "
                f"{env.record.id} has {expected[0]} and {expected[1]}"
            )
        record["sha256"] = parameters_checksum(agent.actor)
        actor = _network_actor(agent, source.stochastic)
    return ChangedActor(actor, source), record


def load_sac(path: Path) -> SAC:
    """Return an agent that was saved.

    Args:
        path: folder of a run, whose newest checkpoint counts, one of its checkpoints, or a SAC
            file of stable-baselines3.

    Raises:
        FileNotFoundError: if there is none of these.
        ValueError: if the file holds another kind of agent.
    """
    if path.suffix != SB3_SUFFIX:
        return load_agent(path)[0]
    from pbrl.agents.sb3_format import from_sb3

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    return from_sb3(path, generator=torch.Generator().manual_seed(0))


def parameters_checksum(network: nn.Module) -> str:
    """Return the SHA-256 of a network's parameters, as little-endian numbers in their order."""
    digest = hashlib.sha256()
    for parameter in network.parameters():
        digest.update(parameter.detach().cpu().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def _network_actor(agent: SAC, stochastic: bool) -> NetworkActor:
    if not stochastic:
        return NetworkActor(lambda observations: agent.act(observations, deterministic=True))

    def sample(observations: Tensor, noise: Tensor) -> Tensor:
        mean, log_std = agent.actor(observations)
        return squash(mean, log_std, noise)[0]

    return NetworkActor(sample, agent.action_dim)
