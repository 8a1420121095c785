"""Runs in thousands of worlds at once, which few updates of large batches keep up with.

One update per environment step, as SAC's papers have it, would leave the worlds waiting. SAC's
numbers are those of FastSAC in the code of FastTD3 (Seo et al. 2025, arXiv 2505.22642), for robots
of MuJoCo Playground, and where that lacks one, those of our preset for two cores.
Departures: a discount of 0.99 rather than 0.97, Adam without decay of weights, and an actor as wide
as the critics. For the control suite MuJoCo Playground (Zakka et al. 2025, arXiv 2502.08844) runs
Brax's SAC with 128 worlds, batches of 512 and 8 updates for each of their steps, at a rate of 1e-3.

PPO's numbers are those of that suite in the code of MuJoCo Playground, which runs Brax's PPO:
60,000,000 steps in 2,048 worlds, a discount of 0.995, a rate of 1e-3, an entropy weight of 0.01,
and per update 16 rows of 30 steps of every world, cut into 32 minibatches, 16 times; hidden layers
of 4 x 32 and 5 x 256 are the defaults of Brax's code. Its clip of 0.3, lambda of 0.95 and gradients
of at most 1 were read in others' notes of it. Departures: one row of 480 steps, so that advantages
reach further than 30; ReLU; and instead of rewards times 10, returns that are standardised.

No run with these numbers has been made on a GPU.
"""

from dataclasses import replace

from pbrl.agents.ppo import PPOConfig
from pbrl.training.config import PreferenceConfig, TrainConfig

SOURCE = "mjx/"
EPISODE_STEPS = 1_000  # of every world, until all episodes end, at once
RATE = 3e-4

SAC_WORLDS = 1_024
SAC_ROUNDS = 20  # of episodes
UPDATES_PER_STEP = 2  # of all worlds
SEED_STEPS = 10  # of all worlds
REPLAY_STEPS = 10_240  # of all worlds

PPO_WORLDS = 2_048
PPO_ROUNDS = 30
PPO_REPLAY_STEPS = 2 * EPISODE_STEPS  # queries are asked about the last episode of every world


def with_worlds(config: TrainConfig) -> TrainConfig:
    """Return a run in thousands of worlds, with the preferences that it had.

    A session is held whenever all episodes end. All of them were made by the same policy, so that
    those of one round count as recent.

    Args:
        config: a run on states in batched physics.

    Raises:
        ValueError: if it has another source of environments, or sees images.
    """
    if config.environment.pixels is not None:
        raise ValueError(f"{config.agent} sees images, which batched physics does not draw at once")
    if not config.env.startswith(SOURCE):
        raise ValueError(
            f"the preset 'worlds' is for batched physics, whose ids begin with {SOURCE!r}, got "
            f"{config.env!r}: take --preset cpu"
        )
    return _with_sac(config) if config.ppo is None else _with_ppo(config)


def _with_sac(config: TrainConfig) -> TrainConfig:
    return replace(
        _in_rounds(config, SAC_WORLDS, SAC_ROUNDS),
        sac=replace(
            config.sac,
            hidden_sizes=(1_024, 512, 256),
            actor_lr=RATE,
            critic_lr=RATE,
            temperature_lr=RATE,
            target_rate=0.1,
            target_update_every=1,
            actor_update_every=2,
            normalize_observations=True,
        ),
        batch_size=32_768,
        updates_per_step=UPDATES_PER_STEP / SAC_WORLDS,
        seed_steps=SEED_STEPS * SAC_WORLDS,
        replay_capacity=REPLAY_STEPS * SAC_WORLDS,
        replay_rule=replace(config.replay_rule, recent_episodes=SAC_WORLDS),
    )


def _with_ppo(config: TrainConfig) -> TrainConfig:
    return replace(
        _in_rounds(config, PPO_WORLDS, PPO_ROUNDS),
        ppo=PPOConfig(
            hidden_sizes=(32,) * 4,
            value_hidden_sizes=(256,) * 5,
            learning_rate=1e-3,
            horizon=480,
            num_epochs=16,
            num_minibatches=32,
            clip=0.3,
            discount=0.995,
            trace=0.95,
            entropy_weight=0.01,
            largest_gradient=1.0,
        ),
        replay_capacity=PPO_REPLAY_STEPS * PPO_WORLDS,
    )


def _in_rounds(config: TrainConfig, num_worlds: int, num_rounds: int) -> TrainConfig:
    """Return a run in so many worlds, which asks and evaluates whenever all episodes end."""
    steps = num_worlds * EPISODE_STEPS
    preferences = config.preferences
    if preferences is not None:
        preferences = _once_a_round(preferences, num_worlds, num_rounds)
    return replace(
        config,
        preset="worlds",
        steps=num_rounds * steps,
        environment=replace(config.environment, num_envs=num_worlds),
        preferences=preferences,
        eval_every=steps,
        checkpoint_every=5 * steps,
        log_every=steps // 10,
        threads=None,
    )


def _once_a_round(
    preferences: PreferenceConfig, num_worlds: int, num_rounds: int
) -> PreferenceConfig:
    steps = num_worlds * EPISODE_STEPS
    schedule = replace(
        preferences.schedule, first_step=steps, interval=steps, total_steps=num_rounds * steps
    )
    sampler = preferences.sampler
    if sampler.pool is not None:
        sampler = replace(sampler, pool=num_worlds)
    return replace(preferences, schedule=schedule, sampler=sampler)
