"""From a configuration to the parts of an online run."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from gymnasium.vector import VectorEnv

from pbrl import envs
from pbrl.agents.drqv2 import DrQv2
from pbrl.agents.ppo import PPO
from pbrl.agents.protocol import OnlineAgent
from pbrl.agents.sac import SAC
from pbrl.intrinsic import IntrinsicReward
from pbrl.queries.samplers import QuerySampler
from pbrl.queries.schedules import FeedbackSchedule
from pbrl.queries.scores import NEEDS_ENSEMBLE
from pbrl.queries.teachers import SimulatedTeacher, Teacher
from pbrl.randomness import Generators, derived_seed
from pbrl.replay import ReplayBuffer
from pbrl.reward_learning import RewardLearner
from pbrl.rewards import RewardEnsemble
from pbrl.ring import bytes_of_step
from pbrl.training.collector import Collector, EpisodeWatcher
from pbrl.training.config import EnvironmentConfig, PreferenceConfig, TrainConfig
from pbrl.training.device_memory import check_replay
from pbrl.training.online import PURPOSES, OnlineLoop
from pbrl.training.preferences import PreferenceReward
from pbrl.training.reward_source import TrueReward

UNLIMITED_EPISODE = 1_000_000  # steps, where an environment has no time limit
ENDS_AT_LIMIT = ("dmc/", "metaworld/", "mjx/")  # never earlier, with one exception
ENDS_EARLIER = "dmc/lqr-"
TRAINING_ENV, EVALUATION_ENV, RANDOM_POLICY = 0, 1, 2  # keys of the seeds that each gets


@runtime_checkable
class EnvironmentRun(Protocol):
    """What is to be known of a run to make its environments."""

    @property
    def env(self) -> str | None:
        """Environment id; None where the run has none."""
        ...

    @property
    def environment(self) -> EnvironmentConfig:
        """Kind of environments."""
        ...

    @property
    def seed(self) -> int:
        """Of everything that is drawn."""
        ...

    @property
    def device(self) -> str:
        """Where observations are wanted."""
        ...


def make_env(
    config: EnvironmentRun,
    *,
    num_envs: int,
    key: tuple[int, ...],
    backend: str | None = None,
    workers: int = 0,
) -> VectorEnv[Any, Any, Any]:
    """Return environments of the run with a seed of their own.

    Args:
        config: the run.
        num_envs: how many.
        key: distinguishes the purposes; the same key gives the same seed.
        backend: other than the configured one.
        workers: rollout workers on a Ray cluster that step them; 0 for none.

    Raises:
        ValueError: if the run has no environment.
    """
    if config.env is None:
        raise ValueError(
            "the run has no environment to act in: its dataset names none; name one when it is "
            "fitted, by `pbrl fit ... --data.env ENV`"
        )
    options: dict[str, Any] = {}
    if config.env.startswith("metaworld/"):
        options["goal_visible"] = config.environment.goal_visible
    make: Callable[..., VectorEnv[Any, Any, Any]] = envs.make
    if workers:
        from pbrl.envs.ray_workers import make_on_workers

        make = partial(make_on_workers, workers=workers)
    return make(
        config.env,
        num_envs,
        seed=derived_seed(config.seed, *key),
        device=config.device,
        backend=backend or config.environment.backend,
        pixels=config.environment.pixels,
        **options,
    )


def build_agent(
    config: TrainConfig, env: VectorEnv[Any, Any, Any], generators: Generators
) -> OnlineAgent:
    """Return the configured agent for the spaces of `env`."""
    kind, parts = chosen_agent(config)
    agent: OnlineAgent = kind(
        parts, *dimensions(env), device=config.device, generator=generators["agent"]
    )
    return agent


def chosen_agent(config: TrainConfig) -> tuple[type[Any], Any]:
    """Return the class of the agent that learns, and its part of the configuration."""
    if config.drqv2 is not None:
        return DrQv2, config.drqv2
    if config.ppo is not None:
        return PPO, config.ppo
    return SAC, config.sac


def build_replay(config: TrainConfig, env: VectorEnv[Any, Any, Any]) -> ReplayBuffer:
    """Return the empty replay of a run, which keeps every frame of images once.

    Raises:
        OutOfDeviceMemory: if the device has too little memory for it.
    """
    num_envs, pixels = config.environment.num_envs, config.environment.pixels
    capacity = config.replay_capacity or config.steps + num_envs
    dtype = torch.float32 if pixels is None else torch.uint8
    num_frames = 1 if pixels is None else pixels.num_frames
    observation_dim, action_dim = dimensions(env)
    num_bytes = bytes_of_step(observation_dim // num_frames, action_dim, dtype)
    check_replay(capacity, num_bytes, config.device)
    return ReplayBuffer(
        capacity,
        observation_dim,
        action_dim,
        num_envs=num_envs,
        device=config.device,
        observation_dtype=dtype,
        num_frames=num_frames,
    )


def dimensions(env: VectorEnv[Any, Any, Any]) -> tuple[int, int]:
    """Return the sizes of a flat observation and of an action."""
    observation_shape = env.single_observation_space.shape
    action_shape = env.single_action_space.shape
    if not (
        observation_shape and action_shape and len(observation_shape) == len(action_shape) == 1
    ):
        raise ValueError(
            "the environment must have flat observations and flat continuous actions, got "
            f"{env.single_observation_space} and {env.single_action_space}"
        )
    return observation_shape[0], action_shape[0]


def build_loop(
    config: TrainConfig,
    *,
    teacher: Teacher | None = None,
    resumes: int = 0,
) -> OnlineLoop:
    """Put an online run together.

    Args:
        config: the run.
        teacher: answers instead of the configured simulated teacher.
        resumes: how often the run was interrupted; environments are seeded anew after each.

    Raises:
        ValueError: if the configuration cannot work, before anything is stepped.
    """
    num_envs = config.environment.num_envs
    env = make_env(
        config,
        num_envs=num_envs,
        key=(TRAINING_ENV, resumes),
        workers=config.environment.workers,
    )
    generators = Generators(config.seed, PURPOSES, config.device)
    observation_dim, action_dim = dimensions(env)
    replay = build_replay(config, env)
    agent = build_agent(config, env, generators)
    preferences = config.preferences
    episode_length = _episode_length(env)
    if preferences is not None:
        check_sessions(config, preferences, episode_length)
    source: PreferenceReward | TrueReward = TrueReward()
    if preferences is not None:
        schedule = replace(preferences.schedule, total_steps=config.steps)
        source = build_preference_reward(
            replace(preferences, schedule=schedule),
            replay,
            dimensions=(observation_dim, action_dim),
            generators=generators,
            teacher=teacher,
        )
    collector = Collector(
        env,
        replay,
        derived_seed(config.seed, TRAINING_ENV, resumes),
        teacher if isinstance(teacher, EpisodeWatcher) else None,
    )
    return OnlineLoop(
        config,
        collector=collector,
        agent=agent,
        source=source,
        intrinsic=IntrinsicReward((preferences or PreferenceConfig()).intrinsic),
        generators=generators,
        episode_length=episode_length,
    )


def check_sessions(config: TrainConfig, preferences: PreferenceConfig, episode_length: int) -> None:
    """Refuse a run in which no session could ever be held.

    Where episodes may end before their time limit, they are taken to be as short as a segment.

    Args:
        config: the run.
        preferences: those of the run.
        episode_length: time limit of an episode.

    Raises:
        ValueError: if segments are longer than every episode or what is kept of one, or the run is
            over before the first episode that holds one.
    """
    length, num_envs = preferences.sampler.segment_length, config.environment.num_envs
    if length > episode_length:
        raise ValueError(
            f"segments of {length} steps are longer than every episode of {config.env}, which ends "
            f"after {episode_length} steps: lower preferences.sampler.segment_length"
        )
    capacity = config.replay_capacity
    if capacity is not None and capacity < num_envs * length:
        raise ValueError(
            f"replay_capacity {capacity} holds no segment of {length} steps from each of num_envs "
            f"{num_envs} environments: raise it to {num_envs * length} or more"
        )
    is_fixed = config.env.startswith(ENDS_AT_LIMIT) and not config.env.startswith(ENDS_EARLIER)
    shortest = episode_length if is_fixed else length
    if num_envs * shortest >= config.steps:
        raise ValueError(
            f"no session can be held in {config.steps} steps: the first, due at "
            f"preferences.schedule.first_step {preferences.schedule.first_step}, needs a complete "
            f"episode of {shortest} steps, and environment.num_envs {num_envs} take "
            f"{num_envs * shortest} for that: raise steps or lower environment.num_envs"
        )


def build_preference_reward(
    config: PreferenceConfig,
    replay: ReplayBuffer,
    *,
    dimensions: tuple[int, int],
    generators: Generators,
    teacher: Teacher | None = None,
) -> PreferenceReward:
    """Return the reward that learns from a teacher's answers, untrained.

    Args:
        config: everything between a query and the learned reward.
        replay: where the segments come from and the rewards go.
        dimensions: sizes of an observation and of an action.
        generators: with the purposes "queries", "teacher", "reward" and "initial".
        teacher: answers instead of the configured simulated teacher.

    Raises:
        ValueError: if the people of a study should answer and nobody stands for them, or the
            sampler compares members of an ensemble of one.
    """
    if config.study and teacher is None:
        raise ValueError(
            f"the people of study {config.study!r} should answer: `pbrl train` opens the study, "
            "other programs give a `pbrl.queries.human.teacher.StudyTeacher`"
        )
    score = config.sampler.score
    if score in NEEDS_ENSEMBLE and config.reward.num_members == 1:
        raise ValueError(
            f"the sampler's score {score!r} compares the members of the reward ensemble, and "
            "preferences.reward.num_members is 1: set it to 2 or more, or choose a sampler by "
            "'entropy' or without a score"
        )
    ensemble = RewardEnsemble(
        config.reward, *dimensions, device=replay.device, generator=generators["initial"]
    )
    return PreferenceReward(
        learner=RewardLearner(config.learning, ensemble, generators["initial"]),
        sampler=QuerySampler(config.sampler),
        schedule=FeedbackSchedule(config.schedule),
        teacher=teacher or SimulatedTeacher(config.teacher),
        control=config.control,
        patience=config.patience,
        replay=replay,
        generators=generators,
    )


def _episode_length(env: VectorEnv[Any, Any, Any]) -> int:
    record = getattr(env, "record", None)
    length = getattr(record, "max_episode_steps", None)
    return int(length) if length else UNLIMITED_EPISODE
