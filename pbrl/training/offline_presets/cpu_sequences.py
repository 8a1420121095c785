"""Sizes for two cores of the methods that read sequences. The numbers are ours."""

from pbrl.agents.dppo import DPPOConfig
from pbrl.agents.dt import DTConfig
from pbrl.agents.dtr_config import DTRConfig
from pbrl.agents.learning_rates import RateSchedule
from pbrl.agents.oppo_config import OPPOConfig
from pbrl.agents.policies import PolicyConfig
from pbrl.agents.sequence_policy import SequencePolicyConfig
from pbrl.preference_transformer import PreferenceTransformerConfig
from pbrl.reward_learning import RewardLearningConfig
from pbrl.training.offline_presets.facts import Facts
from pbrl.transformer import TransformerConfig

STEPS = 5_000
CONTEXT = 20
BATCH = 64
RATE = 1e-3
OF_POLICY = TransformerConfig(width=64, num_layers=2)
OF_ENCODER = TransformerConfig(width=64, num_layers=1, num_heads=2, kind="bidirectional")
OF_REWARD = TransformerConfig(width=64, num_layers=1, num_heads=4)
REWARD_BATCH, REWARD_STEPS, FEWEST_REWARD_STEPS, REWARD_STEPS_SEEN = 32, 1_000, 300, 50_000
PREDICTOR_UPDATES, DPPO_UPDATES = 1_000, 4_000
DPPO_WINDOWS, DPPO_SEGMENT = 64, 50


def policy() -> SequencePolicyConfig:
    """Return the transformer that acts."""
    return SequencePolicyConfig(transformer=OF_POLICY, context=CONTEXT)


def falling() -> RateSchedule:
    """Return a rate that warms up and falls to zero until the end."""
    return RateSchedule(peak=RATE, warmup=STEPS // 20, decay=STEPS)


def dtr() -> DTRConfig:
    """Return DTR's numbers; returns are brought to a scale of 10."""
    return DTRConfig(
        imitation=DTConfig(
            policy=policy(), batch_size=BATCH, rate=falling(), gradient_clip=1.0, return_scale=None
        ),
        critic_hidden_sizes=(128, 128, 128),
        critic_rate=falling(),
        slow_start=STEPS // 20,
        coefficient_updates=STEPS,
    )


def oppo() -> OPPOConfig:
    """Return OPPO's numbers; labelled segments are read whole."""
    return OPPOConfig(
        policy=policy(),
        encoder=OF_ENCODER,
        num_pairs=BATCH // 2,
        windows=BATCH,
        preference_weight=0.1,
        policy_rate=falling(),
        encoder_rate=falling(),
        context_rate=1e-2,
        gradient_clip=1.0,
    )


def preference_transformer(
    facts: Facts, drawn: int
) -> tuple[PreferenceTransformerConfig, RewardLearningConfig]:
    """Return the network of a reward that remembers, and how it is fitted.

    An update costs as many steps of segments as it reads, so that longer ones get fewer updates.

    Args:
        facts: of the data.
        drawn: pairs that are drawn of scored segments.
    """
    num_timesteps = max(CONTEXT, facts.segment_steps or 0)
    updates = min(REWARD_STEPS, max(FEWEST_REWARD_STEPS, REWARD_STEPS_SEEN // num_timesteps))
    per_pass = -(-facts.num_pairs(drawn) // REWARD_BATCH)
    network = PreferenceTransformerConfig(
        transformer=OF_REWARD, num_timesteps=num_timesteps, normalize_observations=True
    )
    learning = RewardLearningConfig(
        learning_rate=RATE,
        batch_size=REWARD_BATCH,
        passes=max(1, updates // per_pass),
        target_accuracy=1.0,
    )
    return network, learning


def dppo(facts: Facts) -> DPPOConfig:
    """Return DPPO's numbers, with the bias that the paper is cited with on locomotion."""
    steps = facts.segment_steps or DPPO_SEGMENT
    return DPPOConfig(
        predictor=PreferenceTransformerConfig(
            transformer=OF_REWARD, attention=False, num_timesteps=max(CONTEXT, steps)
        ),
        predictor_updates=PREDICTOR_UPDATES,
        predictor_rate=RateSchedule(
            peak=RATE, warmup=PREDICTOR_UPDATES // 10, decay=PREDICTOR_UPDATES, start=0.1, end=0.1
        ),
        num_pairs=REWARD_BATCH,
        policy=PolicyConfig(kind="fixed-variance", hidden_sizes=(256, 256), dropout=0.25),
        num_windows=DPPO_WINDOWS,
        segment_steps=min(steps, DPPO_SEGMENT),
        bias=0.5,
    )
