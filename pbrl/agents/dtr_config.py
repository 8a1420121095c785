"""The configuration of DTR (Tu et al. 2025, arXiv 2412.09104)."""

from dataclasses import dataclass, field
from typing import Literal

from pbrl.agents.dt import DTConfig
from pbrl.agents.learning_rates import RateSchedule
from pbrl.checks import check_fields


@dataclass(frozen=True, kw_only=True)
class DTRConfig:
    """Policy, critics and their weights; the defaults are those of the released code.

    Attributes:
        imitation: the policy and how it imitates; its `target_factor` is not used.
        critic_hidden_sizes: widths of the hidden layers of the two critics, Mish between them.
        critic_rate: of their Adam, which has no weight decay.
        discount: gamma, in [0, 1].
        target_rate: step of the target critics after every update, in (0, 1].
        slow_decay: share of the slow copy of the policy that stays in each of its steps. The slow
            copy says what happens after a window.
        slow_every: the slow copy takes a step after every update before which there were a multiple
            of so many,
        slow_start: and more than so many.
        slow_dropout: leave dropout on in the slow copy, as the released code does: noise that
            smooths the targets.
        discard_last: of a terminal last step discard the reward, as the released code does.
        max_coefficient: eta, the largest weight of the critics' value beside imitation, 0 or above.
            The README of the released code has 3 on hopper-medium-replay.
        coefficient_updates: updates over which the weight rises from 0; None has it constant.
        imitation_weight: of the imitation, 0 or above.
        target_factors: returns that are tried when acting, as multiples of the best one.
        choice: "argmax" executes the candidate with the highest value, the paper's rule; "softmax"
            tries each return ten times and draws from softmax(Q), the rule of the released code.
            There the first candidates, as many as there are returns, are free of noise; they are
            all of the first return, and the others are always noisy. It looks back over the whole
            context at every step, without a cache.
    """

    imitation: DTConfig = field(default_factory=DTConfig)
    critic_hidden_sizes: tuple[int, ...] = (256, 256, 256)
    critic_rate: RateSchedule = field(
        default_factory=lambda: RateSchedule(peak=3e-4, decay=50_000, every=1_000)
    )
    discount: float = 0.99
    target_rate: float = 0.005
    slow_decay: float = 0.995
    slow_every: int = 5
    slow_start: int = 1_000
    slow_dropout: bool = True
    discard_last: bool = False
    max_coefficient: float = 1.0
    coefficient_updates: int | None = 50_000
    imitation_weight: float = 1.0
    target_factors: tuple[float, ...] = (0.5, 0.75, 1.0, 1.5, 2.0)
    choice: Literal["argmax", "softmax"] = "argmax"

    def __post_init__(self) -> None:
        over = self.coefficient_updates
        check_fields(
            self,
            (
                "critic_hidden_sizes",
                "positive widths",
                min(self.critic_hidden_sizes, default=1) > 0,
            ),
            ("discount", "in [0, 1]", 0 <= self.discount <= 1),
            ("target_rate", "in (0, 1]", 0 < self.target_rate <= 1),
            ("slow_decay", "in [0, 1)", 0 <= self.slow_decay < 1),
            ("slow_every", "at least 1", self.slow_every >= 1),
            ("slow_start", "0 or above", self.slow_start >= 0),
            ("max_coefficient", "0 or above", self.max_coefficient >= 0),
            ("coefficient_updates", "None or at least 1", over is None or over >= 1),
            ("imitation_weight", "0 or above", self.imitation_weight >= 0),
            ("target_factors", "at least one", len(self.target_factors) > 0),
        )
