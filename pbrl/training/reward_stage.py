"""The reward of an offline run: learned from the labels before the policy, or the true one."""

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.feedback import LabelledQueries
from pbrl.gaussian_reward import GaussianRewardConfig
from pbrl.offline.dataset import OfflineDataset
from pbrl.pairs import LabelledPairs, PreferenceData
from pbrl.preference_transformer import PreferenceTransformerConfig
from pbrl.randomness import Generators
from pbrl.reward_learning import RewardLearner, RewardLearningConfig
from pbrl.reward_scaling import MemberRule, RewardScalingConfig, joined_members, scale_rewards
from pbrl.rewards import RewardConfig, RewardEnsemble
from pbrl.segments import Segments
from pbrl.training.gaussian_reward_model import GaussianRewardModel
from pbrl.training.reward_models import (
    EnsembleReward,
    RewardModel,
    TransformerReward,
)
from pbrl.training.reward_recovery import STEP_CORRELATION, correlation
from pbrl.training.together import RewardFit

PART_STEPS = 500  # gradient steps between two looks at whether the run shall stop


@dataclass(frozen=True, kw_only=True)
class RewardStageConfig:
    """Where the rewards of an offline dataset come from.

    Attributes:
        source: "labels" fits a reward to them, "true" takes the environment's: the oracle.
        model: "ensemble", perceptrons that look at single steps; "preference-transformer", a
            network that looks at what came before as well (Kim et al. 2023); or "gaussian", a
            perceptron that also says how uncertain it is, for labels that may be wrong (PEARL, Liu
            et al. 2024).
        network: the perceptrons.
        members: how the rewards of several networks are joined: their "mean", or the mean of what
            each is after it has been "standardized" over the dataset, as in DTR (Tu et al. 2025).
            One network alone can be standardised too. See `joined_members`.
        transformer: the network of the second kind.
        gaussian: the network of the third.
        learning: how they are fitted: in one session, whose accuracy is taken over each pass. Pairs
            to judge by are held out by the run, not here.
        num_pairs: drawn once from scored segments, any two of which make a pair.
        scaling: what is done to the rewards afterwards.
    """

    source: Literal["labels", "true"] = "labels"
    model: Literal["ensemble", "preference-transformer", "gaussian"] = "ensemble"
    network: RewardConfig = field(default_factory=RewardConfig)
    members: MemberRule = "mean"
    transformer: PreferenceTransformerConfig = field(default_factory=PreferenceTransformerConfig)
    gaussian: GaussianRewardConfig = field(default_factory=GaussianRewardConfig)
    learning: RewardLearningConfig = field(default_factory=RewardLearningConfig)
    num_pairs: int = 10_000
    scaling: RewardScalingConfig = field(default_factory=RewardScalingConfig)

    def __post_init__(self) -> None:
        if self.source not in ("labels", "true"):
            raise ValueError(f"source must be labels or true, got {self.source!r}")
        if self.num_pairs < 1:
            raise ValueError(f"num_pairs must be at least 1, got {self.num_pairs}")
        if self.learning.accuracy_over != "pass" or self.learning.validation_share > 0:
            raise ValueError(
                'learning.accuracy_over must be "pass" and learning.validation_share 0, got '
                f"{self.learning.accuracy_over!r} and {self.learning.validation_share}"
            )
        if self.model != "ensemble":
            self._check_single()

    def _check_single(self) -> None:
        learning = self.learning
        names = ("crops", "label_noise", "pseudo_labels", "hindsight")
        is_plain = all(getattr(learning, name) is None for name in names)
        if not is_plain or learning.bootstrap_share < 1:
            raise ValueError(
                f"learning.{', '.join(names)} and bootstrap_share are for an ensemble, and the "
                f"model is {self.model!r}"
            )
        if self.model == "gaussian" and learning.score != "sum":
            raise ValueError(
                'learning.score must be "sum" for the model "gaussian", whose samples are summed, '
                f"got {learning.score!r}"
            )


def take_true_rewards(dataset: OfflineDataset, scaling: RewardScalingConfig) -> None:
    """Let learners see the true rewards of a dataset.

    Raises:
        ValueError: if the dataset has none, or they cannot be scaled.
    """
    true = dataset.replay.all_true_rewards()
    if not bool(true.any()):
        raise ValueError(f"the dataset {dataset.info.name} holds no reward: all of them are 0")
    if scaling.kind == "z-score" and bool((true == true[0]).all()):
        raise ValueError(
            f"the rewards of all {len(true)} steps of {dataset.info.name} are {float(true[0]):g}: "
            'nothing is left of them after "z-score"; choose another kind of reward.scaling, such '
            'as "none", or learn a reward from labels'
        )
    dataset.replay.all_rewards().copy_(true)
    scale_rewards(dataset.replay, scaling)


class RewardStage:
    """Fits a reward to labels, part by part, and then writes it into the dataset.

    It can be stopped and stored after each part, and comes to the same as one uninterrupted fit.

    Args:
        config: networks, and how they are fitted.
        dataset: where the segments lie and the rewards go.
        preferences: the labels.
        generators: with the purposes "initial" and "reward".

    Attributes:
        fit: the part that has begun, where its passes are left to others.
        recovery: correlation of the learned reward with the true one over the steps of the dataset,
            once it is learned and where the true one is known.
    """

    def __init__(
        self,
        config: RewardStageConfig,
        dataset: OfflineDataset,
        preferences: PreferenceData,
        generators: Generators,
    ) -> None:
        self.config = config
        self.dataset = dataset
        self._generator = generators["reward"]
        self._labelled = _pairs_of(preferences, config.num_pairs, self._generator)
        self.model = _model(config, dataset, self._labelled, generators)
        self.num_steps = 0
        self.is_complete = False
        self.fit: RewardFit | None = None
        self.metrics: dict[str, float] = {}
        self._found: dict[str, float] = {}
        self.recovery: dict[str, float] = {}

    @property
    def max_steps(self) -> int:
        """The most gradient steps that it takes."""
        return self.config.learning.num_steps(len(self._labelled))

    def advance(self) -> None:
        """Take some gradient steps, whole passes over the labels; relabel after the last ones.

        A world model, if a prior brings one, learns before.
        """
        self.begin()
        if self.fit is not None:
            self.fit.learner.take_passes(self.fit.session)
        self.end()

    def begin(self) -> None:
        """Begin the next part; where `fit` is there then, its passes come before `end`."""
        self._found = self._learn_world()
        if self._found:
            return
        given = (self._labelled, self.dataset.replay, self._generator, self._next_steps)
        if isinstance(self.model, RewardLearner):
            self.fit = RewardFit(self.model, self.model.begin(*given))
        else:
            self._found = self.model.fit(*given)

    def end(self) -> None:
        """Finish the part, and after the last one relabel the dataset."""
        if self.fit is not None:
            learner, session = self.fit
            self._found, self.fit = learner.end(session), None
        self.metrics |= self._found
        if "reward/steps" not in self._found:  # a world model learned
            return
        taken = int(self._found["reward/steps"])
        is_short = taken < self._next_steps
        self.num_steps += taken
        self.metrics["reward/steps"] = float(self.num_steps)
        self.metrics["reward/passes"] = self.num_steps / self._steps_per_pass
        is_reached = self._found.get("reward/accuracy", 0.0) > self.config.learning.target_accuracy
        if is_reached or is_short or self.num_steps >= self.max_steps:
            self.is_complete = True
            self._relabel()

    @property
    def _steps_per_pass(self) -> int:
        return -(-len(self._labelled) // self.config.learning.batch_size)

    @property
    def _next_steps(self) -> int:
        """Gradient steps of the next part: whole passes, at least one, while steps are left."""
        passes = max(1, PART_STEPS // self._steps_per_pass)
        return min(passes * self._steps_per_pass, self.max_steps - self.num_steps)

    def _learn_world(self) -> dict[str, float]:
        """Return what a part of the world model's learning came to; nothing when there is none."""
        if not isinstance(self.model, RewardLearner):
            return {}
        return self.model.learn_world(self._labelled, self.dataset.replay, PART_STEPS)

    def _relabel(self) -> None:
        replay = self.dataset.replay
        rewards = joined_members(self.model.step_rewards(replay), self.config.members)
        found = correlation(rewards, replay.all_true_rewards())
        self.recovery = {} if found is None else {STEP_CORRELATION: found}
        replay.all_rewards().copy_(rewards)
        scale_rewards(self.dataset.replay, self.config.scaling)

    def segment_scores(self, segments: Segments) -> Float[Tensor, "*shape"]:
        """Return what the model says that segments are worth."""
        return self.model.segment_scores(segments)

    def state_dict(self) -> dict[str, Any]:
        """Return the networks, their optimiser and how far they are."""
        return {
            "model": self.model.state_dict(),
            "num_steps": self.num_steps,
            "is_complete": self.is_complete,
            "metrics": dict(self.metrics),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, and with a complete fit the rewards."""
        self.model.load_state_dict(state["model"])
        self.num_steps = int(state["num_steps"])
        self.is_complete = bool(state["is_complete"])
        self.metrics = dict(state["metrics"])
        if self.is_complete:
            self._relabel()


def _model(
    config: RewardStageConfig,
    dataset: OfflineDataset,
    labelled: LabelledQueries,
    generators: Generators,
) -> RewardModel:
    """Return the configured model, untrained."""
    if config.model == "preference-transformer":
        return TransformerReward(
            config.transformer, config.learning, dataset, labelled, generators["reward"]
        )
    if config.model == "gaussian":
        return GaussianRewardModel(config.gaussian, config.learning, dataset, generators["initial"])
    ensemble = RewardEnsemble(
        config.network,
        dataset.observation_dim,
        dataset.action_dim,
        device=dataset.replay.device,
        generator=generators["initial"],
    )
    return EnsembleReward(config.learning, ensemble, generators["initial"])


def _pairs_of(
    preferences: PreferenceData, number: int, generator: torch.Generator
) -> LabelledQueries:
    """Return all labelled pairs, or so many of preferences that have no list of them."""
    if isinstance(preferences, LabelledPairs):
        return preferences.labelled
    return preferences.draw(number, generator)
