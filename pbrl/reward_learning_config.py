"""The configuration of reward learning."""

import math
from dataclasses import dataclass, field
from typing import Literal

from pbrl.crops import CropConfig
from pbrl.hindsight import HindsightConfig
from pbrl.label_noise import LabelNoiseConfig
from pbrl.preference import LossConfig
from pbrl.pseudo_labels import PseudoLabelConfig


@dataclass(frozen=True, kw_only=True)
class RewardLearningConfig:
    """How the ensemble is trained in each session; the defaults are B-Pref's (Lee et al. 2021).

    Attributes:
        learning_rate: of Adam, one optimiser for all members and for the whole run.
        batch_size: pairs per gradient step and member.
        passes: most passes over the labels per session. B-Pref's scripts use 50 on DMC and 10 on
            Meta-World, QPA's (Hu et al. 2024) 200 on Meta-World.
        steps_per_label: when given, a session takes at most ceil(steps_per_label * labels /
            batch_size) gradient steps, whatever `passes` says: QPA's `reward_update`, 2000 on DMC;
            1000 and 20 in SURF (Park et al. 2022).
        target_accuracy: the session ends early by the accuracy on its training pairs, in (0, 1].
            0.97 in B-Pref, 0.98 in QPA on DMC.
        accuracy_over: "pass" stops when the accuracy of one pass is above the target, as B-Pref;
            "session" when the running accuracy since the session began has reached it, as QPA on
            DMC. Both look once per pass, where QPA's code looks at every step: the same for up to
            `batch_size` labels.
        score: of a segment: the "sum" of its rewards, or their "mean" as in the code of Preference
            Transformer (Kim et al. 2023), which for equal scores takes rewards that are as many
            times larger as a segment has steps.
        loss: of the margin between the two scores. `LossConfig(name="smoothed",
            flip_rate=m)` is B-Pref's `label_margin` m.
        label_noise: weigh every label by how likely it is to be right, over all members and crops
            together; None trusts them. Annotators are not told apart here.
        crops: augmentation by sub-segments; None learns from whole segments.
        pseudo_labels: also learn from pairs that nobody labelled, where the reward is sure of them
            (SURF, Park et al. 2022); None does not.
        hindsight: also learn from what a world model looks back on (Hindsight PRIOR, Verma and
            Metcalf 2024), over whole segments whatever the crops; None does not.
        bootstrap_share: share of the queries that each member learns from; 1 shows all to all.
        validation_share: share of the queries that nobody learns from, for the accuracy reported.
        memory_limit: MiB of gathered segments kept during a session; above it they are gathered
            for each step.
    """

    learning_rate: float = 3e-4
    batch_size: int = 128
    passes: int = 50
    steps_per_label: float | None = None
    target_accuracy: float = 0.97
    accuracy_over: Literal["pass", "session"] = "pass"
    score: Literal["sum", "mean"] = "sum"
    loss: LossConfig = field(default_factory=LossConfig)
    label_noise: LabelNoiseConfig | None = None
    crops: CropConfig | None = None
    pseudo_labels: PseudoLabelConfig | None = None
    hindsight: HindsightConfig | None = None
    bootstrap_share: float = 1.0
    validation_share: float = 0.0
    memory_limit: float = 512.0

    def __post_init__(self) -> None:
        if self.learning_rate <= 0 or self.memory_limit < 0:
            raise ValueError(
                "learning_rate must be positive and memory_limit not negative, got "
                f"{self.learning_rate} and {self.memory_limit}"
            )
        if min(self.batch_size, self.passes) < 1:
            raise ValueError(
                f"batch_size and passes must be at least 1, got {self.batch_size} and {self.passes}"
            )
        if self.steps_per_label is not None and self.steps_per_label <= 0:
            raise ValueError(f"steps_per_label must be positive, got {self.steps_per_label}")
        for name in ("target_accuracy", "bootstrap_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in (0, 1], got {getattr(self, name)}")
        if not 0 <= self.validation_share < 1:
            raise ValueError(f"validation_share must lie in [0, 1), got {self.validation_share}")
        if self.label_noise is not None and self.label_noise.num_annotators > 1:
            raise ValueError(
                "label_noise.num_annotators must be 1 where a reward is learned, got "
                f"{self.label_noise.num_annotators}"
            )

    def num_steps(self, num_labels: int) -> int:
        """Return the most gradient steps that a session with so many labels takes."""
        if self.steps_per_label is not None:
            return math.ceil(self.steps_per_label * num_labels / self.batch_size)
        return self.passes * math.ceil(num_labels / self.batch_size)
