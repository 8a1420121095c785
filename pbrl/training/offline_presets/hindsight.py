"""Numbers of Hindsight PRIOR (Verma and Metcalf 2024) offline: a reward with the prior, then IQL.

The paper learns online. WiseRL is an offline re-implementation of it.
"""

from dataclasses import replace

from pbrl.agents.iql import IQLConfig
from pbrl.agents.policies import PolicyConfig
from pbrl.hindsight import HindsightConfig
from pbrl.reward_learning import RewardLearningConfig
from pbrl.rewards import RewardConfig
from pbrl.training.hindsight_presets import SMALL_WORLD
from pbrl.training.offline_presets.facts import Facts, NoNumbersError, Recipe
from pbrl.training.reward_stage import RewardStageConfig
from pbrl.world_model import WorldModelConfig

WORLD_UPDATES, REWARD_UPDATES = 10_000, 50_000
UNCOUNTED = 10_000  # pairs that are drawn where labels are made as they are asked for
WISERL_WEIGHT = 1_000.0


def with_prior(reward: RewardStageConfig, facts: Facts) -> RewardStageConfig:
    """Return a reward with the prior at sizes for two cores."""
    prior = HindsightConfig(world=_long_enough(SMALL_WORLD, facts))
    return replace(reward, learning=replace(reward.learning, hindsight=prior))


def wiserl(agent: str, facts: Facts) -> Recipe:
    """Return WiseRL's numbers.

    Beside the sizes of the networks and the rates these are the prior's weight and targets that are
    not detached. Its rewards on Meta-World start from orthogonal weights, ours from torch's.

    Raises:
        NoNumbersError: if it has none.
    """
    if agent != "hindsight-prior":
        raise NoNumbersError("for hindsight-prior")
    if facts.benchmark not in ("mujoco", "metaworld"):
        raise NoNumbersError("only for mujoco and metaworld")
    is_mujoco = facts.benchmark == "mujoco"
    batch_size, steps = (8, 1_000_000) if is_mujoco else (16, 500_000)
    world = WorldModelConfig(
        max_steps=100 if is_mujoco else 25,
        batch_size=64 if is_mujoco else 16,
        initial_updates=WORLD_UPDATES,
    )
    num_pairs = facts.num_labels or UNCOUNTED
    hindsight = HindsightConfig(
        weight=WISERL_WEIGHT, detach=False, world=_long_enough(world, facts)
    )
    reward = RewardStageConfig(
        network=RewardConfig(
            num_members=1,
            hidden_sizes=(256, 256) if is_mujoco else (256, 256, 256),
            activation="relu",
            output="sigmoid" if is_mujoco else "linear",
        ),
        learning=RewardLearningConfig(
            batch_size=batch_size,
            steps_per_label=REWARD_UPDATES * batch_size / num_pairs,
            target_accuracy=1.0,
            hindsight=hindsight,
        ),
        num_pairs=num_pairs,  # of scored segments as many as there are segments
    )
    method = IQLConfig(
        policy=PolicyConfig(hidden_sizes=(256, 256)),
        expectile=0.7 if is_mujoco else 0.75,
        inverse_temperature=3.0,
        policy_decay_updates=None if is_mujoco else steps,
    )
    return Recipe(
        method=method,
        steps=steps,
        eval_every=5_000 if is_mujoco else 10_000,
        eval_episodes=10 if is_mujoco else 20,
        reward=reward,
    )


def _long_enough(world: WorldModelConfig, facts: Facts) -> WorldModelConfig:
    """Return the model with a place for every step of the longest segment."""
    return replace(world, max_steps=max(world.max_steps, facts.segment_steps or 1))
