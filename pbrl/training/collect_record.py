"""What a collected dataset says about itself."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pbrl.envs.vector import SerialVectorEnv
from pbrl.offline.collect.collector import collect_episodes
from pbrl.offline.collect.episodes import Episode, Job
from pbrl.offline.collect.sources import RANDOM, SCRIPTED, Source
from pbrl.training.actors import load_actor
from pbrl.training.collect_config import CollectConfig
from pbrl.training.files import plain
from pbrl.training.machine import commit, machine, versions

FORMAT_VERSION = 1
REFERENCES = 1_000  # number of the first source that only measures a reference


def describe(
    config: CollectConfig,
    env: SerialVectorEnv,
    *,
    sources: Sequence[dict[str, Any]],
    references: dict[str, Any],
) -> dict[str, Any]:
    """Return the metadata that lie under `pbrl` in a Minari dataset.

    Args:
        config: what was collected.
        env: where.
        sources: what is known of each source's policy, and what its episodes came to.
        references: see `references`.
    """
    described = [
        plain(source) | {"description": str(source)} | record
        for source, record in zip(config.sources, sources, strict=True)
    ]
    return {
        "format": FORMAT_VERSION,
        "env": config.env,
        "goal_visible": env.record.goal_visible,
        "environment": env.record.as_dict(),
        "physics": physics(env),
        "action_unit": "the environment's own; pbrl's loaders scale it to [-1, 1]",
        "config": plain(config),
        "sources": described,
        "references": references,
        "versions": versions(),
        "machine": machine(),
        "commit": commit(),
    }


def minari_fields(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that Minari itself knows, from what `describe` returned."""
    sources = "; ".join(source["description"] for source in metadata["sources"])
    required = {**metadata["environment"]["versions"]}
    fields: dict[str, Any] = {
        "algorithm_name": sources,
        "description": f"Episodes of {metadata['env']} by {sources}.",
        "requirements": [f"{name}=={version}" for name, version in required.items()],
    }
    references = metadata["references"]
    if "expert" in references:
        fields["ref_max_score"] = references["expert"]["return"]
        fields["num_episodes_average_score"] = references["expert"].get("episodes", 0)
    if "random" in references:
        fields["ref_min_score"] = references["random"]["return"]
    return fields


def physics(env: SerialVectorEnv) -> dict[str, Any]:
    """Return the numbers of the simulation that change what it computes; empty without MuJoCo."""
    scene = env.lanes[0].scene()
    if scene is None:
        return {}
    options = scene.model.opt
    return {
        "engine": "mujoco",
        "version": env.record.versions.get("mujoco"),
        "timestep": float(options.timestep),
        "integrator": int(options.integrator),
        "solver_iterations": int(options.iterations),
        "gravity": [float(number) for number in options.gravity],
    }


def outcome(episodes: Iterable[Episode | None]) -> dict[str, Any]:
    """Return what the episodes of a source came to; success counts at any step."""
    returns, lengths, successes = [], [], []
    for episode in episodes:
        assert episode is not None
        returns.append(float(episode.rewards.sum()))
        lengths.append(len(episode))
        if episode.successes is not None:
            successes.append(bool(episode.successes.any()))
    return {
        "episodes": len(lengths),
        "steps": sum(lengths),
        "mean_return": float(np.mean(returns)) if returns else None,
        "success_rate": float(np.mean(successes)) if successes else None,
    }


def references(config: CollectConfig, env: SerialVectorEnv) -> dict[str, Any]:
    """Return the returns that count as 0 and as 100, as far as they are given or can be measured.

    Returns:
        Under "random" and "expert": `return`, and if it was measured `policy` and `episodes`.
    """
    found: dict[str, Any] = {}
    for place, (kind, given, source) in enumerate(
        (
            ("random", config.random_return, Source(policy=RANDOM)),
            ("expert", config.expert_return, _expert(config)),
        )
    ):
        if given is not None:
            found[kind] = {"return": given}
        elif config.reference_episodes and source is not None:
            returns = _measure(config, env, source, REFERENCES + place)
            found[kind] = {
                "return": float(np.mean(returns)),
                "policy": str(source),
                "episodes": len(returns),
            }
    return found


def _expert(config: CollectConfig) -> Source | None:
    if config.expert is not None:
        return config.expert
    if config.env.startswith("metaworld/"):
        return Source(policy=SCRIPTED)
    return config.sources[-1] if (config.mixture or "").endswith("expert") else None


def _measure(
    config: CollectConfig, env: SerialVectorEnv, source: Source, place: int
) -> list[float]:
    """Return the returns of complete episodes that the dataset does not hold."""
    actor, _ = load_actor(source, env)
    jobs = iter(
        [
            Job(source=place, number=number, seed=config.seed)
            for number in range(config.reference_episodes)
        ]
    )
    episodes = collect_episodes(env, actor, lambda: next(jobs, None))
    return [float(episode.rewards.sum()) for _, episode in episodes if episode]
