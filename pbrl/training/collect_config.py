"""The configuration of a collection."""

from dataclasses import dataclass

from pbrl.checks import check_seed
from pbrl.offline.collect.sources import Source


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """One dataset to collect.

    Attributes:
        env: environment id, for instance "metaworld/drawer-open-v3-cpl".
        sources: who acts, and in which shares.
        mixture: name of D4RL's mixture that the sources make, or None.
        episodes: how many to collect; or else
        steps: how many steps at least; the episode that reaches them is the last.
        num_envs: episodes in progress at once. The dataset does not depend on it, except through
            the rounding of a network's product over a batch.
        seed: of everything that is drawn.
        max_episode_steps: steps until truncation; None for the environment's own limit.
        goal_visible: Meta-World only: whether the observation contains the goal.
        keep_states: store the simulator's state before every action, so that clips can be rendered.
        warm_up: acts first, for a number of steps drawn uniformly up to `warm_up_steps`, before
            the episode is recorded: the dataset then begins where that policy led.
        warm_up_steps: see `warm_up`; 0 for none.
        random_return: return of a random policy, the 0 of normalised scores, if known.
        expert_return: return of an expert, the 100 of normalised scores, if known.
        expert: whose return to measure for it; None takes Meta-World's scripted expert, or the
            last source of a mixture that ends with an expert.
        reference_episodes: complete episodes to measure the unknown one of these returns with; 0
            leaves it unknown.
    """

    env: str
    sources: tuple[Source, ...] = (Source(policy="random"),)
    mixture: str | None = None
    episodes: int | None = None
    steps: int | None = None
    num_envs: int = 8
    seed: int = 0
    max_episode_steps: int | None = None
    goal_visible: bool = False
    keep_states: bool = False
    warm_up: Source | None = None
    warm_up_steps: int = 0
    random_return: float | None = None
    expert_return: float | None = None
    expert: Source | None = None
    reference_episodes: int = 0

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("sources must name at least one policy")
        budgets = [budget for budget in (self.episodes, self.steps) if budget is not None]
        if len(budgets) != 1 or budgets[0] < 1:
            raise ValueError(
                "exactly one of episodes and steps must be given, at least 1, "
                f"got {self.episodes} and {self.steps}"
            )
        check_seed(self.seed)
        if self.num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {self.num_envs}")
        if min(self.warm_up_steps, self.reference_episodes) < 0:
            raise ValueError(
                "warm_up_steps and reference_episodes must not be negative, "
                f"got {self.warm_up_steps} and {self.reference_episodes}"
            )
        if (self.warm_up is None) != (self.warm_up_steps == 0):
            raise ValueError(
                "warm_up and warm_up_steps belong together, "
                f"got {self.warm_up} and {self.warm_up_steps}"
            )
        if self.goal_visible and not self.env.startswith("metaworld/"):
            raise ValueError(f"goal_visible is an option of Meta-World, not of {self.env}")
        if any(one is not None and one.is_replay for one in (self.warm_up, self.expert)):
            raise ValueError("warm_up and expert must be policies, not a replay buffer")

    @property
    def budget(self) -> int:
        """How many episodes or steps."""
        return self.episodes or self.steps or 0

    @property
    def unit(self) -> str:
        """What the budget counts."""
        return "episodes" if self.episodes is not None else "steps"
