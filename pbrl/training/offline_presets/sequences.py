"""Numbers of the methods that read sequences: OPPO, DTR and its baselines, DPPO.

OPPO is Kang et al. 2023, with a program for labels from rewards and one for people's. DTR is Tu et
al. 2025, which ran Decision Transformer and QT on its own reward as Pb-DT and Pb-QT. DPPO is An et
al. 2023.
"""

from dataclasses import replace
from typing import Any

from pbrl.agents.dppo import DPPOConfig
from pbrl.agents.dt import DTConfig
from pbrl.agents.dtr_config import DTRConfig
from pbrl.agents.learning_rates import RateSchedule
from pbrl.agents.oppo_config import OPPOConfig
from pbrl.agents.policies import PolicyConfig
from pbrl.agents.sequence_policy import SequencePolicyConfig
from pbrl.preference_transformer import PreferenceTransformerConfig
from pbrl.reward_learning import RewardLearningConfig
from pbrl.reward_scaling import RewardScalingConfig
from pbrl.rewards import RewardConfig
from pbrl.training.offline_presets.facts import Facts, NoNumbersError, Recipe
from pbrl.training.reward_stage import RewardStageConfig
from pbrl.transformer import TransformerConfig

ON_TRUE_REWARD = {"dt": "pb-dt", "qt": "pb-qt"}
DTR_AGENTS = ("dt", "pb-dt", "qt", "pb-qt", "dtr")
OPPO_STEPS, DTR_STEPS, DPPO_STEPS = 100_000, 50_000, 1_000_000
README_TASK, README_COEFFICIENT = "hopper-medium-replay", 3.0
ODD_ONE = "halfcheetah-medium-expert"  # has weights and a rate of its own in OPPO's seed.sh
LONG_ONE = ("can-mh", "can_mh")  # has longer episodes than OPPO's other tasks of robomimic
TARGET_ACCURACY = 0.968
DPPO_PASSES, DPPO_BATCH = 10_000, 256
DPPO_BIAS = {"mujoco": 0.5, "adroit": 0.1, "kitchen": 0.1}
DPPO_SEGMENT = 100


def oppo(agent: str, facts: Facts) -> Recipe:
    """Return OPPO's numbers: on locomotion its program for scripted labels, else that for people's.

    Sizes, rates and weights are its own, and so is acting by the optimal context as it is. What it
    does beside its paper is left to options, see `OPPOConfig`: codes are means over the steps there
    are, the context is told at every step, and labels are a fixed set, with as many windows of the
    dataset as both batches of that program have. Labelled segments are read whole: those of
    `foresight` are the 20 steps that the program reads, those of a file what people saw. Weights
    and clip are those of the same update in means, see there.

    Raises:
        NoNumbersError: if its code has none.
    """
    if agent != "oppo":
        raise NoNumbersError("for oppo")
    if facts.benchmark == "mujoco":
        method = OPPOConfig(decoding="raw")
        if facts.info.name.startswith(ODD_ONE):
            method = replace(method, norm_weight=0.05, preference_weight=0.125, context_rate=1e-2)
        return Recipe(
            method=method, steps=OPPO_STEPS, eval_every=1_000, normalize_observations=True
        )
    if facts.benchmark not in ("robomimic", "antmaze"):
        raise NoNumbersError("only for mujoco, antmaze and robomimic")
    return Recipe(
        method=_of_people(_places_of_people(facts)),
        steps=OPPO_STEPS,
        eval_every=1_000,
        eval_episodes=50,
        normalize_observations=True,
    )


def _places_of_people(facts: Facts) -> int:
    """Return the longest episode that the program for people's labels knows on a task."""
    if facts.benchmark == "antmaze":
        return 1_001
    return 1_050 if facts.info.name.lower().startswith(LONG_ONE) else 500


def _of_people(num_timesteps: int) -> OPPOConfig:
    policy = SequencePolicyConfig(
        transformer=TransformerConfig(num_heads=2),
        context=100,
        num_timesteps=num_timesteps,
        timed_condition=False,
        predict_observations=True,
    )
    return OPPOConfig(
        policy=policy,
        context_dim=16,
        schedule="alternate",
        windows=64,
        window_draw="episodes",
        pair_imitation_weight=2.0,
        preference_weight=10.0,
        norm_weight=0.2,
        norm_term="hinge",
        gradient_clip=0.25,
        observation_weight=1.0,
        observation_noise=0.1,
        context_rate=1e-2,
        initial_std=1.0,
        decoding="raw",
    )


def dtr(agent: str, facts: Facts) -> Recipe:
    """Return DTR's numbers, for itself and for the baselines that it ran beside it.

    Its weight of the critics per task is in an appendix that is in no source of ours; the command
    in its README has 3 on hopper-medium-replay, and the default of its code is 1. QT keeps that
    weight constant.

    Raises:
        NoNumbersError: if its code has none.
    """
    if agent not in DTR_AGENTS:
        raise NoNumbersError(f"for {', '.join(DTR_AGENTS)}")
    if facts.benchmark not in ("mujoco", "adroit"):
        raise NoNumbersError("only for mujoco and adroit")
    learning = RewardLearningConfig(
        batch_size=64,
        passes=50 if facts.benchmark == "mujoco" else 100,
        target_accuracy=TARGET_ACCURACY,
    )
    reward = RewardStageConfig(network=RewardConfig(num_members=3), learning=learning)
    is_of_readme = facts.info.name.startswith(README_TASK)
    method = DTRConfig(max_coefficient=README_COEFFICIENT if is_of_readme else 1.0)
    return Recipe(
        method=of_dtr(agent, method),
        steps=DTR_STEPS,
        eval_every=1_000,
        reward=reward_of_dtr(agent, reward),
        normalize_observations=True,
    )


def of_dtr(agent: str, method: DTRConfig) -> Any:
    """Return the configuration of a relative of DTR, from DTR's.

    Decision Transformer (Chen et al. 2021) divides the returns of locomotion by 1,000, which leaves
    about 10; on the true reward the scale follows the dataset to the same.
    """
    if agent in ON_TRUE_REWARD:
        method = imitation(method, return_scale=None)
    match ON_TRUE_REWARD.get(agent, agent):
        case "pb-dt":
            return method.imitation
        case "pb-qt":
            return replace(method, coefficient_updates=None)
        case _:
            return method


def reward_of_dtr(agent: str, reward: RewardStageConfig) -> RewardStageConfig:
    """Return what a relative of DTR learns from.

    Learned rewards, which labels leave open up to a shift, get mean 0 and standard deviation 1;
    DTR's get its own normalisation. A true reward only gets another unit. A shift would pay for
    long episodes, or for short ones, what the task does not: in DTR's paper normalising true
    rewards cost about 12.6 %.
    """
    if agent == "dtr":
        return replace(reward, members="standardized", scaling=RewardScalingConfig())
    if agent in ON_TRUE_REWARD:
        scaling = RewardScalingConfig(kind="root-mean-square")
        return replace(reward, source="true", scaling=scaling)
    return replace(reward, source="labels", scaling=RewardScalingConfig(kind="z-score"))


def dppo(agent: str, facts: Facts) -> Recipe:
    """Return DPPO's numbers.

    The weight of smoothness and the distance of neighbours of the paper are in no source of ours;
    in the released code both are 0. Bias and dropout are those that the paper is cited with.

    Raises:
        NoNumbersError: if its code has none.
    """
    if agent != "dppo":
        raise NoNumbersError("for dppo")
    if facts.benchmark not in DPPO_BIAS:
        raise NoNumbersError(f"only for {', '.join(DPPO_BIAS)}")
    updates = DPPO_PASSES * -(-max(1, facts.num_labels) // DPPO_BATCH)
    method = DPPOConfig(
        predictor=PreferenceTransformerConfig(attention=False),
        predictor_updates=updates,
        predictor_rate=RateSchedule(
            peak=1e-3, warmup=updates // 10, decay=updates, start=0.1, end=0.1
        ),
        policy=PolicyConfig(kind="fixed-variance", hidden_sizes=(256, 256), dropout=0.25),
        segment_steps=facts.segment_steps or DPPO_SEGMENT,
        bias=DPPO_BIAS[facts.benchmark],
    )
    return Recipe(method=method, steps=updates + DPPO_STEPS, eval_every=5_000)


def imitation(method: DTRConfig, **changes: Any) -> DTRConfig:
    """Return DTR with other numbers for its policy."""
    changed: DTConfig = replace(method.imitation, **changes)
    return replace(method, imitation=changed)
