"""What a policy is worth: by a dataset alone, and beside it by roll-outs where there are any."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from pbrl import envs
from pbrl.envs.vector import SerialVectorEnv
from pbrl.offline.collect.actors import NetworkActor
from pbrl.offline.collect.collector import collect_episodes
from pbrl.offline.collect.episodes import Job
from pbrl.offline.dataset import OfflineDataset
from pbrl.offline.fqe import FQEConfig, Policy, PolicyValue, evaluate_offline
from pbrl.offline.report.summary import Spread
from pbrl.offline.steps import DatasetSteps, dataset_steps, discounted_to_go
from pbrl.randomness import Generators
from pbrl.training.actors import SavedPolicy, load_saved_policy

PURPOSES = ("fqe", "steps")
_NUM_COMPARED = 10_000  # steps of the dataset whose actions are compared
_MAX_ENVS = 10


@dataclass(frozen=True, kw_only=True)
class PolicyReportConfig:
    """How a policy is evaluated.

    Attributes:
        fqe: the evaluation from data alone; None leaves it out.
        episodes: complete episodes rolled out where the dataset has an environment; 0 for none.
        seed: of everything that is drawn.
    """

    fqe: FQEConfig | None = field(default_factory=FQEConfig)
    episodes: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.episodes < 0:
            raise ValueError(f"episodes must not be negative, got {self.episodes}")


@dataclass(frozen=True, kw_only=True)
class PolicyReport:
    """What a policy, acting by its mode, is worth.

    Attributes:
        policy: where it was loaded from.
        discount: gamma of the discounted returns.
        behaviour_return: mean discounted return of the dataset's own episodes.
        fitted_return: estimate of the policy's discounted return from the first states of the
            dataset, which goes on for ever; None if it was left out.
        rollout_return: mean discounted return of roll-outs, up to their time limit.
        rollouts: undiscounted returns of the same; None where there was no environment.
        success_rate: of the roll-outs, where the environment says.
        log_likelihood: mean log density of the dataset's actions per step; None for a policy
            without a density.
        action_distance: root mean square distance per action component between what the policy and
            the dataset do in the dataset's states.
    """

    policy: str
    discount: float
    behaviour_return: float
    fitted_return: PolicyValue | None
    rollout_return: float | None
    rollouts: Spread | None
    success_rate: float | None
    log_likelihood: float | None
    action_distance: float


def report_policy(
    dataset: OfflineDataset,
    path: Path,
    config: PolicyReportConfig,
    on_update: Callable[[int], None] | None = None,
) -> PolicyReport:
    """Return what a policy is worth.

    Args:
        dataset: the data; their environment, if they have one, is where the policy is rolled out.
        path: run, checkpoint, or SAC file of stable-baselines3.
        config: how it is evaluated.
        on_update: called with the number of updates that the evaluation from data has done.

    Raises:
        FileNotFoundError: if there is no such policy.
        ValueError: if it does not fit the dataset.
    """
    saved = load_saved_policy(path, dataset.observation_dim, dataset.action_dim)
    steps = dataset_steps(dataset.replay)
    generators = Generators(config.seed, PURPOSES)
    discount = config.fqe.discount if config.fqe else FQEConfig().discount
    fitted = None
    if config.fqe is not None and dataset.has_last_observations:
        fitted = evaluate_offline(steps, saved.act, config.fqe, generators["fqe"], on_update)
    likelihood, distance = _compare_actions(steps, saved, generators["steps"])
    rollouts = _roll_out(dataset, saved.act, config)
    discounted = [_discounted(rewards, discount) for rewards, _ in rollouts]
    returns = np.array([float(rewards.sum()) for rewards, _ in rollouts])
    successes = [success for _, success in rollouts if success is not None]
    return PolicyReport(
        policy=str(path),
        discount=discount,
        behaviour_return=_behaviour_return(steps, discount),
        fitted_return=fitted,
        rollout_return=float(np.mean(discounted)) if rollouts else None,
        rollouts=Spread.of(returns) if rollouts else None,
        success_rate=float(np.mean(successes)) if successes else None,
        log_likelihood=likelihood,
        action_distance=distance,
    )


def _behaviour_return(steps: DatasetSteps, discount: float) -> float:
    to_go = discounted_to_go(steps.true_rewards, steps.steps_left, discount)
    return float(to_go[steps.first_rows].mean())


def _discounted(rewards: Float[np.ndarray, " time"], discount: float) -> float:
    return float((rewards * discount ** np.arange(len(rewards))).sum())


@torch.no_grad()
def _compare_actions(
    steps: DatasetSteps, saved: SavedPolicy, generator: torch.Generator
) -> tuple[float | None, float]:
    """Return the mean log density of the dataset's actions, and how far the policy's are away."""
    number = min(_NUM_COMPARED, len(steps))
    rows = torch.randperm(len(steps), generator=generator)[:number]
    observations, actions = steps.observations[rows], steps.actions[rows]
    distance = (saved.act(observations) - actions).square().mean().sqrt()
    if saved.log_prob is None:
        return None, float(distance)
    return float(saved.log_prob(observations, actions).mean()), float(distance)


def _roll_out(
    dataset: OfflineDataset, act: Policy, config: PolicyReportConfig
) -> list[tuple[Float[np.ndarray, " time"], bool | None]]:
    """Return the rewards of complete episodes, and whether each was a success at any step."""
    if dataset.info.env is None or config.episodes == 0:
        return []
    options: dict[str, Any] = {"goal_visible": True} if dataset.info.goal_visible else {}
    num_envs = min(_MAX_ENVS, config.episodes)
    env = envs.make(dataset.info.env, num_envs, backend="official", **options)
    assert isinstance(env, SerialVectorEnv)
    jobs = iter([Job(source=0, number=k, seed=config.seed) for k in range(config.episodes)])
    try:
        found = collect_episodes(env, NetworkActor(act), lambda: next(jobs, None))
        return [
            (
                episode.rewards,
                None if episode.successes is None else bool(episode.successes.any()),
            )
            for _, episode in found
            if episode is not None
        ]
    finally:
        env.close()


def policy_rows(report: PolicyReport) -> list[list[str]]:
    """Return a table's rows: what, value, and what to think of it."""
    rows = [
        [
            "dataset's own episodes",
            f"{report.behaviour_return:,.4g}",
            f"discounted by {report.discount:g}",
        ]
    ]
    if report.fitted_return is not None:
        members = ", ".join(f"{one:,.4g}" for one in report.fitted_return.members)
        rows.append(
            ["policy, from the data", f"{report.fitted_return.mean:,.4g}", f"networks: {members}"]
        )
    if report.rollout_return is not None and report.rollouts is not None:
        rows.append(["policy, rolled out", f"{report.rollout_return:,.4g}", "up to the time limit"])
        spread = f"deviation {report.rollouts.std:,.4g}"
        rows.append(["roll-outs, undiscounted", f"{report.rollouts.mean:,.4g}", spread])
    if report.success_rate is not None:
        rows.append(["roll-outs, success", f"{report.success_rate:.2f}", ""])
    if report.log_likelihood is not None:
        rows.append(["log density of the data", f"{report.log_likelihood:,.3g}", "per step"])
    rows.append(["distance to the data's actions", f"{report.action_distance:.3f}", "per number"])
    return rows
