"""Numbers of IQL on a learned reward: Preference Transformer (PT) and Uni-RLHF.

PT is Kim et al. 2023, whose Markovian reward is p-iql here; Uni-RLHF is Yuan et al. 2024 with its
perceptron.
"""

from dataclasses import dataclass, replace

from pbrl.agents.iql import IQLConfig
from pbrl.agents.policies import PolicyConfig
from pbrl.reward_learning import RewardLearningConfig
from pbrl.reward_scaling import RewardScalingConfig
from pbrl.rewards import RewardConfig
from pbrl.training.offline_presets.facts import Benchmark, Facts, NoNumbersError, Recipe
from pbrl.training.reward_stage import RewardStageConfig

STEPS = 1_000_000
TRANSFORMER_RATE = 1e-3  # at its peak
DETERMINISTIC = ("hopper-medium-v2", "hopper-medium-replay-v2")  # in Uni-RLHF
ODD_ONE = "hopper-medium-expert"  # has an expectile and a temperature of its own in Uni-RLHF


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """One column of the papers' code.

    Attributes:
        expectile: tau.
        inverse_temperature: beta.
        scaling: of learned rewards.
        eval_every: updates between evaluations.
        eval_episodes: episodes of each.
        dropout: of the actor.
        passes: of the reward over its labels.
        target_accuracy: at which the reward stops; 1 never does.
    """

    expectile: float
    inverse_temperature: float
    scaling: RewardScalingConfig
    eval_every: int
    eval_episodes: int = 10
    dropout: float = 0.0
    passes: int = 10_000
    target_accuracy: float = 1.0


_RANGE = RewardScalingConfig(kind="return-range")
PT = {
    "mujoco": Numbers(
        expectile=0.7,
        inverse_temperature=3.0,
        scaling=RewardScalingConfig(kind="return-range", shift=0.5),
        eval_every=5_000,
    ),
    "antmaze": Numbers(
        expectile=0.9,
        inverse_temperature=10.0,
        scaling=RewardScalingConfig(kind="return-range", spread_lowest=True, shift=-1.0),
        eval_every=100_000,
        eval_episodes=100,
    ),
    "adroit": Numbers(
        expectile=0.7, inverse_temperature=0.5, scaling=_RANGE, eval_every=50_000, dropout=0.1
    ),
    "robomimic": Numbers(
        expectile=0.7, inverse_temperature=0.5, scaling=_RANGE, eval_every=100_000, dropout=0.1
    ),
}
# PT stretches learned rewards to the time limit of the task's environment, and of true ones those
# of locomotion alone, without a shift.
TIME_LIMITS: dict[Benchmark, int] = {
    "mujoco": 1_000, "antmaze": 1_000, "adroit": 200, "robomimic": 500,
}  # fmt: skip
SHORTER_TASKS = {"umaze": 700, "pen": 100}
PT_TRUE: dict[Benchmark, RewardScalingConfig] = {
    "mujoco": _RANGE, "antmaze": RewardScalingConfig(shift=-1.0),
}  # fmt: skip
UNI_RLHF = {
    "mujoco": Numbers(
        expectile=0.7,
        inverse_temperature=3.0,
        scaling=RewardScalingConfig(),
        eval_every=5_000,
        passes=50,
        target_accuracy=0.968,
    ),
    "antmaze": Numbers(
        expectile=0.9,
        inverse_temperature=10.0,
        scaling=RewardScalingConfig(shift=-1.0),
        eval_every=5_000,
        eval_episodes=100,
        passes=300,
    ),
    # Their actor accepts a dropout of 0.1 here and never passes it on.
    "adroit": Numbers(
        expectile=0.8,
        inverse_temperature=3.0,
        scaling=RewardScalingConfig(),
        eval_every=5_000,
        passes=100,
        target_accuracy=0.968,
    ),
}


def pt(agent: str, facts: Facts) -> Recipe:
    """Return Preference Transformer's numbers.

    Raises:
        NoNumbersError: if its code has none.
    """
    is_transformer = agent == "preference-transformer"
    numbers = _numbers(PT, "p-iql" if is_transformer else agent, facts)
    scaling = replace(numbers.scaling, factor=_time_limit(facts))
    if agent == "iql":
        scaling = PT_TRUE.get(facts.benchmark, RewardScalingConfig())
    reward = RewardStageConfig(
        source="true" if agent == "iql" else "labels",
        network=RewardConfig(
            num_members=1, hidden_sizes=(256, 256), activation="relu", output="linear"
        ),
        learning=RewardLearningConfig(
            batch_size=256,
            passes=numbers.passes,
            target_accuracy=numbers.target_accuracy,
            score="mean",
        ),
        scaling=scaling,
    )
    if is_transformer:
        learning = replace(reward.learning, learning_rate=TRANSFORMER_RATE)
        reward = replace(reward, model="preference-transformer", learning=learning)
    policy = PolicyConfig(hidden_sizes=(256, 256), dropout=numbers.dropout)
    return _recipe(numbers, policy, reward, normalize_observations=False)


def uni_rlhf(agent: str, facts: Facts) -> Recipe:
    """Return Uni-RLHF's numbers.

    Raises:
        NoNumbersError: if its code has none.
    """
    numbers = _numbers(UNI_RLHF, agent, facts)
    if facts.info.name.startswith(ODD_ONE):
        numbers = Numbers(
            expectile=0.5,
            inverse_temperature=6.0,
            scaling=numbers.scaling,
            eval_every=numbers.eval_every,
            passes=numbers.passes,
            target_accuracy=numbers.target_accuracy,
        )
    reward = RewardStageConfig(
        source="true" if agent == "iql" else "labels",
        network=RewardConfig(num_members=3, hidden_sizes=(256, 256, 256)),
        learning=RewardLearningConfig(
            batch_size=64, passes=numbers.passes, target_accuracy=numbers.target_accuracy
        ),
        scaling=numbers.scaling,
    )
    is_deterministic = facts.info.name in DETERMINISTIC
    policy = PolicyConfig(kind="fixed-variance" if is_deterministic else "gaussian")
    return _recipe(numbers, policy, reward, normalize_observations=True)


def _numbers(table: dict[str, Numbers], agent: str, facts: Facts) -> Numbers:
    if agent not in ("iql", "p-iql"):
        raise NoNumbersError("for iql, p-iql and, with pt, preference-transformer")
    if facts.benchmark not in table:
        raise NoNumbersError(f"only for {', '.join(table)}")
    return table[facts.benchmark]


def _time_limit(facts: Facts) -> float:
    """Return the steps after which the task's environment cuts an episode off."""
    name = facts.info.name.lower()
    if facts.benchmark in ("antmaze", "adroit"):
        for task, steps in SHORTER_TASKS.items():
            if task in name:
                return float(steps)
    return float(TIME_LIMITS[facts.benchmark])


def _recipe(
    numbers: Numbers,
    policy: PolicyConfig,
    reward: RewardStageConfig,
    *,
    normalize_observations: bool,
) -> Recipe:
    method = IQLConfig(
        policy=policy,
        expectile=numbers.expectile,
        inverse_temperature=numbers.inverse_temperature,
        policy_decay_updates=STEPS,
    )
    return Recipe(
        method=method,
        steps=STEPS,
        eval_every=numbers.eval_every,
        eval_episodes=numbers.eval_episodes,
        reward=reward,
        normalize_observations=normalize_observations,
    )
