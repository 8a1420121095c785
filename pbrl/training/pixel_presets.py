"""DrQ-v2 and TACO on tasks seen as images: the numbers of their code, and sizes for two cores.

Which tasks are easy is written down from memory of DrQ-v2's code; the numbers were read in TACO's.
Of their medium tasks `reach_duplo` is not in the control suite; the hard ones, the humanoids, are
left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pbrl.agents.drqv2 import DrQv2Config
from pbrl.encoders import EncoderConfig
from pbrl.envs.pixels import PixelConfig
from pbrl.taco import TacoConfig
from pbrl.training.config import EnvironmentConfig, TrainConfig
from pbrl.training.threads import SMALL

ON_IMAGES = ("drqv2", "taco")
EASY = (
    "dmc/cartpole-balance", "dmc/cartpole-balance_sparse", "dmc/cartpole-swingup",
    "dmc/ball_in_cup-catch", "dmc/finger-spin", "dmc/hopper-stand", "dmc/pendulum-swingup",
    "dmc/walker-stand", "dmc/walker-walk",
)  # fmt: skip
MEDIUM = (
    "dmc/acrobot-swingup", "dmc/cartpole-swingup_sparse", "dmc/cheetah-run",
    "dmc/finger-turn_easy", "dmc/finger-turn_hard", "dmc/hopper-hop", "dmc/quadruped-run",
    "dmc/quadruped-walk", "dmc/reacher-easy", "dmc/reacher-hard", "dmc/walker-run",
)  # fmt: skip
SMALL_REPLAY: Mapping[str, int] = {"dmc/quadruped-run": 100_000}
DRQV2_BATCH, TACO_BATCH, SMALL_BATCH = 256, 1024, 128


@dataclass(frozen=True, kw_only=True)
class PixelNumbers:
    """How long a task is learned; steps are those of the agent, two frames each.

    Attributes:
        steps: in all.
        noise_updates: over which the noise of actions falls.
    """

    steps: int
    noise_updates: int


PAPER: Mapping[str, PixelNumbers] = {
    **dict.fromkeys(EASY, PixelNumbers(steps=550_000, noise_updates=50_000)),
    **dict.fromkeys(MEDIUM, PixelNumbers(steps=1_550_000, noise_updates=250_000)),
}


def pixel_config(
    env: str, agent: str, *, preset: Literal["cpu", "paper", "ppe"], seed: int
) -> TrainConfig:
    """Return the configuration of "drqv2" or "taco" on true reward.

    Args:
        env: environment id.
        agent: one of `ON_IMAGES`.
        preset: "paper" or "cpu".
        seed: of everything that is drawn.

    Raises:
        ValueError: if the preset has no numbers for the task.
    """
    if preset == "cpu":
        return _small(env, agent, seed)
    if preset != "paper" or env not in PAPER:
        raise ValueError(
            f"the preset {preset!r} has no numbers for {agent} on {env}, only 'paper' for "
            f"{', '.join(PAPER)}; take --preset cpu and set the numbers you want"
        )
    numbers = PAPER[env]
    return TrainConfig(
        env=env,
        agent=agent,
        preset=preset,
        seed=seed,
        steps=numbers.steps,
        environment=EnvironmentConfig(backend="official", pixels=PixelConfig()),
        drqv2=DrQv2Config(
            num_return_steps=1 if env.startswith("dmc/walker") else 3,
            noise_updates=numbers.noise_updates,
            taco=TacoConfig() if agent == "taco" else None,
        ),
        batch_size=TACO_BATCH if agent == "taco" else DRQV2_BATCH,
        updates_per_step=0.5,
        seed_steps=2_000,
        replay_capacity=SMALL_REPLAY.get(env, 1_000_000),
        eval_every=5_000,
        checkpoint_every=100_000,  # each holds the replay, of up to 21 GB
    )


def _small(env: str, agent: str, seed: int) -> TrainConfig:
    """Return a run of some hours on two cores: small frames, networks and batches."""
    pixels = PixelConfig(size=(48, 48))
    return TrainConfig(
        env=env,
        agent=agent,
        seed=seed,
        steps=50_000,
        environment=EnvironmentConfig(backend="official", pixels=pixels),
        drqv2=small_learner(pixels, with_taco=agent == "taco"),
        batch_size=SMALL_BATCH,
        updates_per_step=0.5,
        seed_steps=1_000,
        eval_every=5_000,
        eval_episodes=5,
        checkpoint_every=10_000,
        threads=SMALL,
    )


def small_learner(pixels: PixelConfig, *, with_taco: bool) -> DrQv2Config:
    """Return networks and rates for two cores."""
    return DrQv2Config(
        encoder=EncoderConfig(
            image_shape=pixels.image_shape, num_filters=16, num_features=32, shift=2
        ),
        hidden_size=256,
        learning_rate=3e-4,
        noise_updates=5_000,
        taco=TacoConfig(num_features=32, hidden_size=256) if with_taco else None,
    )
