"""From a configuration and data to the parts of an offline run."""

import warnings
from typing import Any

import torch
from gymnasium.vector import VectorEnv

from pbrl.agents import agent_class
from pbrl.agents.protocol import HasFirstPhase, OfflineAgent, phases_of
from pbrl.feedback import LabelledQueries
from pbrl.offline.dataset import OfflineDataset
from pbrl.pairs import LabelledPairs, PreferenceData, are_ties
from pbrl.randomness import Generators, derived_seed
from pbrl.segments import Segments
from pbrl.training.build import EVALUATION_ENV, RANDOM_POLICY, dimensions, make_env
from pbrl.training.fit_config import FitConfig
from pbrl.training.fit_data import Data
from pbrl.training.label_controls import hold_out, spoilt
from pbrl.training.offline import PURPOSES, OfflineLoop
from pbrl.training.offline_batches import OfflineSampler, best_episodes, seen
from pbrl.training.reward_stage import RewardStage, take_true_rewards
from pbrl.training.scoring import EnvironmentScorer, HeldOutScorer, Scorer, ScorerWithMore
from pbrl.training.standardizer import Standardizer

JUDGED_SEGMENTS, JUDGED_STEPS = 256, 64  # of a dataset whose log-likelihood is reported


def build_offline_agent(
    config: FitConfig[Any], observation_dim: int, action_dim: int, generators: Generators
) -> OfflineAgent:
    """Return the configured agent, untrained."""
    agent: OfflineAgent = agent_class(config.agent)(
        config.method,
        observation_dim,
        action_dim,
        device=config.device,
        generator=generators["agent"],
    )
    return agent


def build_offline_loop(
    config: FitConfig[Any], data: Data
) -> tuple[OfflineLoop, LabelledQueries | None]:
    """Put an offline run together; return the loop and the labels held out.

    Labels are held out before they are spoilt, so that a control is judged by the right ones.

    Raises:
        ValueError: if the configuration cannot work with such data.
    """
    dataset = data.dataset
    generators = Generators(config.seed, PURPOSES, config.device)
    agent = build_offline_agent(config, dataset.observation_dim, dataset.action_dim, generators)
    _warn_of_short_run(config)
    learns_from_labels = _learns_from_labels(config, agent)
    if config.labels is not None and not learns_from_labels:
        used = "only judge it" if config.held_out_share > 0 else "are left aside"
        warnings.warn(
            f"{config.agent} does not learn from labels: those of {config.labels} {used}",
            RuntimeWarning,
            stacklevel=2,
        )
    preferences, held_out = _prepare(config, data.preferences, generators)
    standardizer = Standardizer.of(dataset.replay) if config.normalize_observations else None
    episodes = None
    if config.best_share < 1:
        if agent.batch_sizes.transitions == 0:
            raise ValueError(
                f"best_share is for agents that draw transitions, and this {config.agent} draws "
                "labelled segments"
            )
        episodes = best_episodes(dataset, config.best_share)
    sampler = OfflineSampler(dataset, preferences, generators, episodes=episodes, view=standardizer)
    loop = OfflineLoop(
        agent,
        sampler,
        generators=generators,
        stage=_reward_stage(config, agent, dataset, preferences, generators),
        standardizer=standardizer,
        num_labels=data.num_labels if learns_from_labels else 0,
        updates=config.updates,
    )
    return loop, held_out


def _warn_of_short_run(config: FitConfig[Any]) -> None:
    """Warn of a run that ends before its method does what it is for."""
    phase = config.method.first_phase if isinstance(config.method, HasFirstPhase) else None
    if phase is not None and config.steps <= phase.updates:
        option = f"--method.{phase.option.replace('_', '-')}"
        warnings.warn(
            f"in its first {phase.updates:,} updates {config.agent} {phase.what}, and this run "
            f"ends after {config.steps:,}: lower {option}, or raise --steps above it",
            RuntimeWarning,
            stacklevel=2,
        )


def _learns_from_labels(config: FitConfig[Any], agent: OfflineAgent) -> bool:
    if config.reward is not None and config.reward.source == "labels":
        return True
    return any(sizes.pairs or sizes.lists for sizes in phases_of(agent))


def _prepare(
    config: FitConfig[Any], preferences: PreferenceData | None, generators: Generators
) -> tuple[PreferenceData | None, LabelledQueries | None]:
    """Return the preferences to learn from, spoilt if so configured, and those held out."""
    if preferences is None:
        if config.control != "none" or config.held_out_share > 0:
            raise ValueError(
                f"control {config.control!r} and held_out_share {config.held_out_share} are about "
                "labels, and there are none"
            )
        return None, None
    _check_preferred(preferences)
    training, held_out = hold_out(preferences, config.held_out_share, generators["held-out"])
    _check_preferred(training)
    return spoilt(training, config.control, generators["control"]), held_out


def _check_preferred(preferences: PreferenceData) -> None:
    """Refuse labels or scores that prefer nothing.

    Raises:
        ValueError: if there are only ties.
    """
    if are_ties(preferences):
        found = (
            f"all {len(preferences)} labels are ties"
            if isinstance(preferences, LabelledPairs)
            else f"all {len(preferences)} scored segments have the same score"
        )
        raise ValueError(f"{found}: they prefer nothing that could be learned")


def _reward_stage(
    config: FitConfig[Any],
    agent: OfflineAgent,
    dataset: OfflineDataset,
    preferences: PreferenceData | None,
    generators: Generators,
) -> RewardStage | None:
    if config.reward is None:
        if getattr(agent, "learns_from_rewards", False):
            raise ValueError(
                f"{config.agent} learns from rewards: configure `reward`, from labels or true"
            )
        return None
    if config.reward.source == "true":
        take_true_rewards(dataset, config.reward.scaling)
        return None
    if preferences is None:
        raise ValueError(
            f"{config.agent} learns its reward from labels: give a file of labels for "
            f"{dataset.info.name}"
        )
    return RewardStage(config.reward, dataset, preferences, generators)


def evaluation_env(config: FitConfig[Any], dataset: OfflineDataset) -> VectorEnv[Any, Any, Any]:
    """Return one environment for each episode of an evaluation.

    Raises:
        ValueError: if its spaces are not those of the dataset.
    """
    env = make_env(config, num_envs=config.eval_episodes, key=(EVALUATION_ENV,))
    expected, found = dimensions(env), (dataset.observation_dim, dataset.action_dim)
    if expected != found:
        env.close()
        raise ValueError(
            f"the dataset {dataset.info.name} has {found[0]} observed numbers and {found[1]} "
            f"actions, the environment {config.env} has {expected[0]} and {expected[1]}; name "
            "another environment with --data.env"
        )
    return env


def build_scorer(
    config: FitConfig[Any],
    data: Data,
    loop: OfflineLoop,
    held_out: LabelledQueries | None,
    env: VectorEnv[Any, Any, Any] | None,
) -> Scorer:
    """Return what scores the loop's policy: episodes where there is an environment.

    Labels held out are judged in either case; without any environment they are the score.
    """
    if env is None:
        return held_out_scorer(config, data, loop, held_out)
    scorer: Scorer = environment_scorer(config, data, loop, env)
    if held_out is not None:
        judge = held_out_scorer(config, data, loop, held_out)
        scorer = ScorerWithMore(scorer, lambda: judge().metrics)
    stage = loop.stage
    return scorer if stage is None else ScorerWithMore(scorer, lambda: stage.recovery)


def environment_scorer(
    config: FitConfig[Any], data: Data, loop: OfflineLoop, env: VectorEnv[Any, Any, Any]
) -> EnvironmentScorer:
    """Return what scores the loop's policy by episodes, normalised where that is known how."""
    noise = torch.Generator(config.device)
    noise.manual_seed(derived_seed(config.seed, RANDOM_POLICY))
    return EnvironmentScorer(
        loop.act,
        env,
        config.eval_episodes,
        seed=derived_seed(config.seed, EVALUATION_ENV),
        noise=noise,
        reference=data.dataset.info.reference,
    )


def held_out_scorer(
    config: FitConfig[Any], data: Data, loop: OfflineLoop, held_out: LabelledQueries | None
) -> HeldOutScorer:
    """Return what scores the loop's policy without an environment.

    The log-likelihood is that of the segments held out, or else of windows of the dataset, which
    the policy may have seen.
    """
    replay = data.dataset.replay
    if held_out is not None:
        segments = replay.gather(held_out.index[:JUDGED_SEGMENTS].reshape(-1))
    else:
        lengths = replay.episode_lengths(replay.completed_episodes())
        generator = torch.Generator(replay.device).manual_seed(config.seed)
        steps = min(JUDGED_STEPS, int(lengths.max()))
        index = replay.sample_segments(JUDGED_SEGMENTS, steps, generator)
        segments = replay.gather(index)

    def view(given: Segments) -> Segments:
        return seen(given, loop.standardizer)

    return HeldOutScorer(
        loop.agent,
        replay,
        held_out=held_out,
        segments=segments,
        score=None if loop.stage is None else loop.stage.segment_scores,
        view=view,
    )
