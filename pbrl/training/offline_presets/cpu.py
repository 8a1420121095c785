"""Sizes for two cores: runs of minutes. The numbers are ours, started from the papers'."""

import math
from dataclasses import replace

from pbrl.agents.bc import BCConfig
from pbrl.agents.cpl import CPLConfig
from pbrl.agents.cpl_variants import VARIANTS
from pbrl.agents.ipl import IPLConfig
from pbrl.agents.iql import IQLConfig
from pbrl.agents.p_iql import JointPIQLConfig
from pbrl.agents.policies import PolicyConfig
from pbrl.agents.policy_scores import PolicyScoreConfig
from pbrl.reward_learning import RewardLearningConfig
from pbrl.reward_scaling import RewardScalingConfig
from pbrl.rewards import RewardConfig
from pbrl.training.offline_presets import cpu_sequences, images
from pbrl.training.offline_presets.facts import Facts, NoNumbersError, Recipe
from pbrl.training.offline_presets.hindsight import with_prior
from pbrl.training.offline_presets.reward_models import PT
from pbrl.training.offline_presets.sequences import DTR_AGENTS, of_dtr, reward_of_dtr
from pbrl.training.reward_stage import RewardStageConfig

HIDDEN = (256, 256)
LEARNING_RATE = 3e-4
PAIRS = 32
STEPS, PRETRAINING, WARM_UP = 10_000, 4_000, 500
IQL_STEPS = 20_000
IPL_WINDOW = 16  # steps; the regulariser below belongs to it
IPL_REGULARIZER = 4.0
REWARD_BATCH, REWARD_STEPS, MOST_PASSES = 64, 1_500, 400
REWARD_PAIRS = 2_000  # drawn of scored segments
CPL_STEPS, CPL_SCALE = 64, 0.1  # what counts is their product
DIRECT = PolicyConfig(kind="fixed-variance", hidden_sizes=HIDDEN, dropout=0.25)
WITHOUT_TERMINATION = ("metaworld", "robomimic", "kitchen")


def recipe(agent: str, facts: Facts) -> Recipe:
    """Return numbers of ours.

    Raises:
        NoNumbersError: if there are none for the method.
    """
    if agent in images.AGENTS:
        return images.of_images(agent, facts)
    iql = IQLConfig(
        policy=PolicyConfig(hidden_sizes=HIDDEN),
        hidden_sizes=HIDDEN,
        learning_rate=LEARNING_RATE,
        policy_decay_updates=IQL_STEPS,
    )
    steps, reward = STEPS, None
    match agent:
        case "bc" | "%bc":
            method: object = BCConfig(policy=DIRECT, learning_rate=LEARNING_RATE)
        case "sft":
            method = BCConfig(
                policy=DIRECT,
                data="segments",
                preferred_after=PRETRAINING,
                learning_rate=LEARNING_RATE,
                batch_size=PAIRS,
            )
        case "iql" | "p-iql":
            method, steps = iql, IQL_STEPS
            reward = _reward("true" if agent == "iql" else "labels", facts)
        case "hindsight-prior":
            method, steps, reward = iql, IQL_STEPS, with_prior(_reward("labels", facts), facts)
        case "pearl":
            method, steps = iql, IQL_STEPS
            reward = replace(_reward("labels", facts), model="gaussian")
        case "p-iql-joint":
            network = RewardConfig(
                num_members=1, hidden_sizes=HIDDEN, activation="relu", output="linear"
            )
            method = JointPIQLConfig(
                iql=iql,
                reward=network,
                reward_updates=STEPS // 4,
                num_pairs=PAIRS,
                segment_steps=_window(facts),
            )
        case _ if agent in VARIANTS:
            method = VARIANTS[agent](_cpl(facts))
        case "ipl":
            method = _ipl(facts)
        case _:
            return _of_sequences(agent, facts, iql)
    return Recipe(
        method=method,
        steps=steps,
        eval_every=steps // 10,
        reward=reward,
        best_share=0.1 if agent == "%bc" else 1.0,
    )


def _of_sequences(agent: str, facts: Facts, iql: IQLConfig) -> Recipe:
    """Return numbers of the methods that read sequences."""
    steps, reward, method = cpu_sequences.STEPS, None, object()
    match agent:
        case "oppo":
            method = cpu_sequences.oppo()
        case "dppo":
            method = cpu_sequences.dppo(facts)
            steps = cpu_sequences.PREDICTOR_UPDATES + cpu_sequences.DPPO_UPDATES
        case "preference-transformer":
            network, learning = cpu_sequences.preference_transformer(facts, REWARD_PAIRS)
            reward = replace(
                _reward("labels", facts),
                model="preference-transformer",
                transformer=network,
                learning=learning,
            )
            method, steps = iql, IQL_STEPS
        case _ if agent in DTR_AGENTS:
            method = of_dtr(agent, cpu_sequences.dtr())
            reward = reward_of_dtr(agent, _reward("labels", facts))
        case _:
            raise NoNumbersError("for this method")
    return Recipe(
        method=method,
        steps=steps,
        eval_every=steps // 10,
        reward=reward,
        normalize_observations=agent != "preference-transformer",
    )


def _window(facts: Facts) -> int | None:
    """Return the length of IPL's windows; None, whole segments, where they are not longer."""
    steps = facts.segment_steps
    return IPL_WINDOW if steps is not None and steps > IPL_WINDOW else None


def _cpl(facts: Facts) -> CPLConfig:
    """Return CPL with an alpha for segments of the length that there are."""
    length = facts.segment_steps or CPL_STEPS
    return CPLConfig(
        policy=DIRECT,
        score=PolicyScoreConfig(scale=CPL_SCALE * CPL_STEPS / length),
        pretraining_updates=PRETRAINING,
        warmup_updates=WARM_UP,
        learning_rate=LEARNING_RATE,
        batch_size=PAIRS,
    )


def _ipl(facts: Facts) -> IPLConfig:
    is_pairs_alone = facts.info.family == "pairs"
    return IPLConfig(
        policy=PolicyConfig(hidden_sizes=HIDDEN),
        hidden_sizes=HIDDEN,
        regularizer=IPL_REGULARIZER,
        clip_value=False,
        learning_rate=LEARNING_RATE,
        num_pairs=PAIRS,
        num_transitions=0 if is_pairs_alone else 256,
        segment_steps=_window(facts),
    )


def _reward(source: str, facts: Facts) -> RewardStageConfig:
    """Return a small ensemble, which learns in about as many steps from few labels and from many.

    Where episodes end early the sign of the rewards matters, so that they are only stretched. Where
    none does, a learned reward stays as it is: its sums are the log odds of the labels, a scale
    that suits weights exp(beta A). Standardised, it made IQL follow a handful of transitions: on
    Meta-World's sweep-into (64-step regret labels, seed 0) success 0.07, against 0.77 as it is.
    """
    scaling = RewardScalingConfig(kind="return-range", shift=0.5)
    if facts.benchmark in WITHOUT_TERMINATION:
        scaling = RewardScalingConfig(kind="z-score" if source == "true" else "none")
    elif facts.benchmark in PT:
        scaling = PT[facts.benchmark].scaling
    steps_per_pass = math.ceil(facts.num_pairs(REWARD_PAIRS) / REWARD_BATCH)
    return RewardStageConfig(
        source="true" if source == "true" else "labels",
        network=RewardConfig(num_members=3, hidden_sizes=(128, 128), normalize_observations=True),
        learning=RewardLearningConfig(
            batch_size=REWARD_BATCH,
            passes=min(MOST_PASSES, math.ceil(REWARD_STEPS / steps_per_pass)),
        ),
        num_pairs=REWARD_PAIRS,
        scaling=scaling,
    )
