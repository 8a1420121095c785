"""SAC in a thousand worlds at once: few updates per step, of large batches.

One update per environment step, as in the papers, would leave the worlds waiting for updates. The
numbers are those of FastSAC in the code of FastTD3 (Seo et al. 2025, arXiv 2505.22642), for robots
of MuJoCo Playground, and where that lacks one, those of our preset for two cores.
Departures: a discount of 0.99 rather than 0.97, Adam without decay of weights, and an actor as wide
as the critics. For the control suite MuJoCo Playground (Zakka et al. 2025, arXiv 2502.08844) runs
Brax's SAC with 128 worlds, batches of 512 and 8 updates for each of their steps, at a rate of 1e-3.

No run with these numbers has been made on a GPU.
"""

from dataclasses import replace

from pbrl.training.config import PreferenceConfig, TrainConfig

SOURCE = "mjx/"
NUM_WORLDS = 1_024
UPDATES_PER_STEP = 2  # of all worlds
EPISODE_STEPS = 1_000
ROUND = NUM_WORLDS * EPISODE_STEPS  # environment steps until all episodes end, at once
NUM_ROUNDS = 20
SEED_STEPS = 10  # of all worlds
REPLAY_STEPS = 10_240  # of all worlds
RATE = 3e-4


def with_worlds(config: TrainConfig) -> TrainConfig:
    """Return a run in a thousand worlds, with the preferences that it had.

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
    preferences = config.preferences
    return replace(
        config,
        preset="worlds",
        steps=NUM_ROUNDS * ROUND,
        environment=replace(config.environment, num_envs=NUM_WORLDS),
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
        updates_per_step=UPDATES_PER_STEP / NUM_WORLDS,
        seed_steps=SEED_STEPS * NUM_WORLDS,
        replay_capacity=REPLAY_STEPS * NUM_WORLDS,
        replay_rule=replace(config.replay_rule, recent_episodes=NUM_WORLDS),
        preferences=None if preferences is None else _once_a_round(preferences),
        eval_every=ROUND,
        checkpoint_every=5 * ROUND,
        log_every=ROUND // 10,
        threads=None,
    )


def _once_a_round(preferences: PreferenceConfig) -> PreferenceConfig:
    schedule = replace(
        preferences.schedule, first_step=ROUND, interval=ROUND, total_steps=NUM_ROUNDS * ROUND
    )
    sampler = preferences.sampler
    if sampler.pool is not None:
        sampler = replace(sampler, pool=NUM_WORLDS)
    return replace(preferences, schedule=schedule, sampler=sampler)
