"""The configuration of an online run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pbrl.agents.drqv2 import DrQv2Config
from pbrl.agents.ppo import PPOConfig
from pbrl.agents.sac import SACConfig
from pbrl.envs.pixels import PixelConfig
from pbrl.intrinsic import IntrinsicConfig
from pbrl.queries.patience import PatienceConfig
from pbrl.queries.samplers import SamplerConfig
from pbrl.queries.schedules import ScheduleConfig
from pbrl.queries.simulated import TeacherConfig
from pbrl.replay_rules import ReplayRuleConfig
from pbrl.reward_learning import RewardLearningConfig
from pbrl.rewards import RewardConfig
from pbrl.training.run_config import RunConfig

Control = Literal["none", "shuffled-labels", "flipped-labels"]
# What says how an agent draws from the replay, as it must stay for one that does not.
NOT_DRAWN: Mapping[str, Any] = {
    "batch_size": 256,
    "updates_per_step": 1.0,
    "replay_rule": ReplayRuleConfig(),
}


@dataclass(frozen=True, kw_only=True)
class EnvironmentConfig:
    """Which environment, and how many of it.

    Attributes:
        num_envs: environments stepped at once; the papers use 1.
        backend: "official" packages, "envpool", or "auto" for the faster one that is installed; for
            batched physics "rollout", "mjx", or "auto" for the one that suits the device.
        goal_visible: Meta-World only: whether the observation contains the goal.
        pixels: images in place of the state, with their frame stack and action repeat; None shows
            the state.
        workers: rollout workers on the Ray cluster of this machine that step the training
            environments, with the same results; 0 steps them in this process.
    """

    num_envs: int = 1
    backend: Literal["auto", "official", "envpool", "rollout", "mjx"] = "auto"
    goal_visible: bool = False
    pixels: PixelConfig | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        if self.num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {self.num_envs}")
        if not 0 <= self.workers <= self.num_envs:
            raise ValueError(
                f"workers must lie in [0, num_envs {self.num_envs}], got {self.workers}"
            )


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig:
    """Everything between a query and the learned reward.

    Attributes:
        schedule: budget, and when how much of it is spent.
        sampler: which pairs are asked about.
        teacher: the simulated teacher that answers, where no study is named.
        study: name of the study whose people and programs answer; empty for none.
        patience: how far to run ahead of a teacher who answers later.
        reward: the reward ensemble.
        learning: how the ensemble is trained.
        intrinsic: reward of the unsupervised exploration before the first session.
        warm_up_updates: agent updates after the critic's reset at the first session; 100 in
            PEBBLE's code.
        control: "shuffled-labels" and "flipped-labels" corrupt every answer: what learns all the
            same did not learn from the labels.
    """

    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    study: str = ""
    patience: PatienceConfig = field(default_factory=PatienceConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    learning: RewardLearningConfig = field(default_factory=RewardLearningConfig)
    intrinsic: IntrinsicConfig = field(default_factory=IntrinsicConfig)
    warm_up_updates: int = 100
    control: Control = "none"

    def __post_init__(self) -> None:
        prior, length = self.learning.hindsight, self.sampler.segment_length
        if prior is not None and length > prior.world.max_steps:
            raise ValueError(
                "learning.hindsight.world.max_steps must reach the end of a segment of "
                f"sampler.segment_length {length} steps, got {prior.world.max_steps}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """One online run.

    Attributes:
        env: environment id, for instance "dmc/walker-walk".
        agent: name under which the run is reported; the other fields say what it does.
        environment: number and kind of environments.
        sac: the agent's networks and rates.
        drqv2: those of an agent that sees images, and learns instead of it where they are given.
        ppo: those of an agent that learns from its newest steps, instead of `sac` where they are
            given. What says how others draw from the replay (`batch_size`, `updates_per_step`,
            `replay_rule`, seed steps, updates to warm up) has no meaning then.
        batch_size: transitions per update.
        updates_per_step: agent updates per environment step; the papers use 1.
        seed_steps: first steps, taken with uniformly random actions and without updates.
        replay_capacity: steps kept; None keeps all of them, as the papers do.
        replay_rule: which transitions an update sees while the budget lasts; afterwards uniform.
        preferences: None trains on the environment's true reward.
    """

    env: str
    agent: str = "qpa"
    steps: int = 200_000
    environment: EnvironmentConfig = field(default_factory=EnvironmentConfig)
    sac: SACConfig = field(default_factory=SACConfig)
    drqv2: DrQv2Config | None = None
    ppo: PPOConfig | None = None
    batch_size: int = 256
    updates_per_step: float = 1.0
    seed_steps: int = 1_000
    replay_capacity: int | None = None
    replay_rule: ReplayRuleConfig = field(default_factory=ReplayRuleConfig)
    preferences: PreferenceConfig | None = None
    eval_every: int = 10_000
    checkpoint_every: int = 25_000
    log_every: int = 1_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        self._check_images()
        self._check_newest()
        if self.updates_per_step <= 0:
            raise ValueError(f"updates_per_step must be positive, got {self.updates_per_step}")
        if self.seed_steps < 0:
            raise ValueError(f"seed_steps must not be negative, got {self.seed_steps}")
        if self.replay_capacity is not None and self.replay_capacity < self.batch_size:
            raise ValueError(
                f"replay_capacity must hold a batch of {self.batch_size}, "
                f"got {self.replay_capacity}"
            )

    def _check_newest(self) -> None:
        """Refuse with PPO what would do nothing, or show it steps of another policy."""
        if self.ppo is None:
            return
        for name, value in {**NOT_DRAWN, "seed_steps": 0, "drqv2": None}.items():
            if getattr(self, name) != value:
                raise ValueError(
                    f"{name} must be {value} with ppo, which learns from its newest ppo.horizon "
                    f"steps of every environment alone, got {getattr(self, name)}"
                )
        preferences = self.preferences
        if preferences is not None and preferences.warm_up_updates:
            raise ValueError(
                "preferences.warm_up_updates must be 0 with ppo, which learns from no steps of "
                f"the exploration afterwards, got {preferences.warm_up_updates}"
            )
        num_steps, capacity = self.ppo.horizon * self.environment.num_envs, self.replay_capacity
        if num_steps < self.ppo.num_minibatches:
            raise ValueError(
                f"ppo.num_minibatches must be at most the {num_steps} steps of an update, "
                f"ppo.horizon times num_envs, got {self.ppo.num_minibatches}"
            )
        if capacity is not None and capacity < num_steps:
            raise ValueError(
                f"replay_capacity must hold the {num_steps} steps of an update, ppo.horizon times "
                f"num_envs, got {capacity}"
            )

    def _check_images(self) -> None:
        pixels = self.environment.pixels
        if (pixels is None) != (self.drqv2 is None):
            raise ValueError(
                "environment.pixels and drqv2 go together: one shows images, the other sees them"
            )
        if pixels is None or self.drqv2 is None:
            return
        shape = self.drqv2.encoder.image_shape
        if shape != pixels.image_shape:
            raise ValueError(
                f"drqv2.encoder.image_shape must be that of the pixels, {pixels.image_shape}, "
                f"got {shape}"
            )
        if self.preferences is not None:
            raise ValueError(
                "preferences must be None with images: a reward of images is learned offline, "
                "beside its agent"
            )
