"""PPO in place of SAC: many environments, the newest steps, and more of them.

On preferences that is what B-Pref (Lee et al. 2021) calls PrefPPO, after Christiano et al. (2017),
with exploration before the first labels. Its script for walker-walk, read in its code: 32
environments of 500 steps each, 20 epochs of minibatches of 64, a rate of 5e-5, 3 x 256, lambda
0.92, a clip that falls from 0.4 to 0, 4,000,000 steps, 1,000 labels.
"""

from collections.abc import Mapping
from dataclasses import replace

from pbrl.agents.ppo import PPOConfig
from pbrl.training.config import NOT_DRAWN, PreferenceConfig, TrainConfig

# What learns with PPO, and what it is with SAC.
WITH_PPO: Mapping[str, str] = {"ppo": "sac", "pref-ppo": "pebble"}
MORE_STEPS = 20  # than SAC: an on-policy method sees each step once
NUM_ENVS, NUM_BATCHED = 16, 64  # of environments one by one, and of batched physics
BATCHED = "mjx/"
STEPS_PER_UPDATE = 4_096


def with_ppo(config: TrainConfig, agent: str) -> TrainConfig:
    """Return a run for two cores that learns by PPO, with the preferences that it had.

    Everything that is counted in steps is longer. PPO learns nothing from random steps, nor from
    those of the exploration once there is a learned reward.

    Args:
        config: of SAC, or of PEBBLE.
        agent: name under which it is reported.

    Raises:
        ValueError: if the preset has no numbers for PPO.
    """
    if config.preset != "cpu":
        raise ValueError(
            f"the preset {config.preset!r} has no numbers for {agent}: take --preset cpu or worlds"
        )
    num_envs = NUM_BATCHED if config.env.startswith(BATCHED) else NUM_ENVS
    preferences = config.preferences
    return replace(
        config,
        agent=agent,
        environment=replace(config.environment, num_envs=num_envs),
        steps=MORE_STEPS * config.steps,
        ppo=PPOConfig(
            hidden_sizes=(128, 128),
            value_hidden_sizes=(128, 128),
            learning_rate=1e-3,
            horizon=STEPS_PER_UPDATE // num_envs,
            num_epochs=5,
            num_minibatches=16,
            discount=0.995,
            entropy_weight=0.01,
        ),
        **NOT_DRAWN,
        seed_steps=0,
        preferences=None if preferences is None else _longer(preferences),
        eval_every=MORE_STEPS * config.eval_every,
        checkpoint_every=MORE_STEPS * config.checkpoint_every,
        log_every=MORE_STEPS * config.log_every,
    )


def _longer(preferences: PreferenceConfig) -> PreferenceConfig:
    schedule = preferences.schedule
    schedule = replace(
        schedule,
        first_step=MORE_STEPS * schedule.first_step,
        interval=MORE_STEPS * schedule.interval,
        total_steps=MORE_STEPS * schedule.total_steps,
    )
    return replace(preferences, schedule=schedule, warm_up_updates=0)
