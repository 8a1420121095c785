"""Numbers of IPL and its baselines (Hejna and Sadigh 2023, the configurations of their code)."""

from dataclasses import dataclass

from pbrl.agents.ipl import IPLConfig
from pbrl.agents.iql import IQLConfig
from pbrl.agents.p_iql import JointPIQLConfig
from pbrl.agents.policies import PolicyConfig
from pbrl.reward_scaling import RewardScalingConfig
from pbrl.rewards import RewardConfig
from pbrl.training.offline_presets.facts import Facts, NoNumbersError, Recipe
from pbrl.training.reward_stage import RewardStageConfig

REWARD_UPDATES = 20_000
SHORT_SEGMENTS = 50  # of robomimic's proficient-human data; windows of 32, elsewhere of 64


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """One column of their configurations; the names are those of `IPLConfig`."""

    steps: int
    eval_every: int
    eval_episodes: int
    regularizer: float
    hidden_sizes: tuple[int, ...] = (256, 256)
    dropout: float = 0.0
    clip_value: bool = True
    expectile: float = 0.7
    inverse_temperature: float = 1 / 0.3333
    num_pairs: int = 8
    num_transitions: int = 256
    segment_steps: int = 64


NUMBERS = {
    "mujoco": Numbers(steps=1_000_000, eval_every=5_000, eval_episodes=10, regularizer=0.5),
    "robomimic": Numbers(
        steps=1_000_000,
        eval_every=50_000,
        eval_episodes=25,
        regularizer=4.0,
        dropout=0.1,
        inverse_temperature=0.5,
    ),
    "metaworld": Numbers(
        steps=200_000,
        eval_every=2_500,
        eval_episodes=20,
        regularizer=3.0,
        hidden_sizes=(256, 256, 256),
        clip_value=False,
        expectile=0.75,
        num_pairs=16,
        num_transitions=0,
        segment_steps=16,
    ),
}


def recipe(agent: str, facts: Facts) -> Recipe:
    """Return the numbers of a method.

    Raises:
        NoNumbersError: if their code has none.
    """
    numbers = NUMBERS.get(facts.benchmark)
    if numbers is None:
        raise NoNumbersError(f"only for {', '.join(NUMBERS)}")
    policy = PolicyConfig(hidden_sizes=numbers.hidden_sizes, dropout=numbers.dropout)
    iql = IQLConfig(
        policy=policy,
        hidden_sizes=numbers.hidden_sizes,
        policy_decay_updates=numbers.steps,
        expectile=numbers.expectile,
        inverse_temperature=numbers.inverse_temperature,
    )
    is_short = facts.benchmark == "robomimic" and facts.segment_steps == SHORT_SEGMENTS
    segment_steps = 32 if is_short else numbers.segment_steps
    reward = None
    match agent:
        case "iql":
            method: object = iql
            is_mujoco = facts.benchmark == "mujoco"
            scaling = RewardScalingConfig(kind="return-range" if is_mujoco else "none")
            reward = RewardStageConfig(source="true", scaling=scaling)
        case "p-iql-joint":
            method = JointPIQLConfig(
                iql=iql,
                reward=RewardConfig(
                    num_members=1,
                    hidden_sizes=numbers.hidden_sizes,
                    activation="relu",
                    output="linear",
                ),
                reward_updates=REWARD_UPDATES,
                num_pairs=numbers.num_pairs,
                segment_steps=segment_steps,
                dataset_weight=0.5 if numbers.num_transitions else 0.0,
            )
        case "ipl":
            method = IPLConfig(
                policy=policy,
                hidden_sizes=numbers.hidden_sizes,
                regularizer=numbers.regularizer,
                clip_value=numbers.clip_value,
                expectile=numbers.expectile,
                inverse_temperature=numbers.inverse_temperature,
                num_pairs=numbers.num_pairs,
                num_transitions=numbers.num_transitions,
                segment_steps=segment_steps,
            )
        case _:
            raise NoNumbersError("for iql, p-iql-joint and ipl")
    return Recipe(
        method=method,
        steps=numbers.steps,
        eval_every=numbers.eval_every,
        eval_episodes=numbers.eval_episodes,
        reward=reward,
    )
