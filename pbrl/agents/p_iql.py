"""P-IQL whose reward is learned beside the policy, as the papers of CPL and IPL run it.

The usual order, a reward first and then Implicit Q-Learning on a relabelled dataset, needs no agent
of its own: it is IQL on a dataset whose rewards were learned.
"""

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Real
from torch import Tensor

from pbrl.agents.iql import IQL, IQLConfig
from pbrl.agents.policies import Policy
from pbrl.checks import check_fields
from pbrl.encoders import shift_batch, shift_segments
from pbrl.feedback import TIE
from pbrl.pairs import OfflineBatch, OfflineBatchSizes, PairBatch
from pbrl.preference import is_correct, logistic_loss, sum_score
from pbrl.replay import Batch
from pbrl.rewards import RewardConfig, RewardEnsemble
from pbrl.segments import Segments


@dataclass(frozen=True, kw_only=True)
class JointPIQLConfig:
    """Reward and IQL together; the defaults are CPL's on Meta-World (Hejna et al. 2024, table 5).

    Attributes:
        iql: networks and rates of IQL; its `batch_size` counts further transitions of the dataset,
            and only if `dataset_weight` is above 0. CPL's own inverse temperature is 3.
        reward: its networks, without codes and normalisers, which nothing would fit here.
        reward_updates: the reward learns for so many updates from the start, 0 or above. CPL:
            50,000; IPL's baseline (Hejna and Sadigh 2023): 20,000.
        reward_learning_rate: of Adam, above 0.
        num_pairs: labelled pairs per update.
        segment_steps: length of the window cut from each segment; None takes them whole.
        dataset_weight: share of each loss of IQL that transitions of the dataset have, in [0, 1);
            the steps of the segments have the rest. CPL: 0; IPL's baseline: 0.5.
    """

    iql: IQLConfig = field(default_factory=IQLConfig)
    reward: RewardConfig = field(
        default_factory=lambda: RewardConfig(
            num_members=1, hidden_sizes=(512, 512), activation="relu", output="linear"
        )
    )
    reward_updates: int = 50_000
    reward_learning_rate: float = 3e-4
    num_pairs: int = 96
    segment_steps: int | None = None
    dataset_weight: float = 0.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                "reward",
                "without codes, normalize_observations and normalize_rewards: nothing fits them",
                self.reward.codes is None
                and not (self.reward.normalize_observations or self.reward.normalize_rewards),
            ),
            ("reward_updates", "0 or above", self.reward_updates >= 0),
            ("reward_learning_rate", "above 0", self.reward_learning_rate > 0),
            ("num_pairs", "at least 1", self.num_pairs >= 1),
            ("segment_steps", "at least 2 or None", self.segment_steps not in (0, 1)),
            ("dataset_weight", "in [0, 1)", 0 <= self.dataset_weight < 1),
        )
        self.batch_sizes()

    def batch_sizes(self) -> OfflineBatchSizes:
        """Return what one update draws."""
        return OfflineBatchSizes(
            pairs=self.num_pairs,
            transitions=self.iql.batch_size if self.dataset_weight > 0 else 0,
            segment_steps=self.segment_steps,
            least_steps=2,  # of a last step the following state is not known
        )


class JointPIQL:
    """IQL on the steps of labelled segments, with a reward that the labels teach meanwhile.

    Args:
        config: networks and rates.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        device: where networks and batches live.
        generator: draws initial parameters, dropout and noise; on `device`. Whoever owns it saves
            its state.

    Raises:
        ValueError: if the generator lives elsewhere than `device`.
    """

    def __init__(
        self,
        config: JointPIQLConfig,
        observation_dim: int,
        action_dim: int,
        *,
        device: torch.device | str = "cpu",
        generator: torch.Generator,
    ) -> None:
        self.config = config
        self.iql = IQL(config.iql, observation_dim, action_dim, device=device, generator=generator)
        self.reward = RewardEnsemble(
            config.reward, observation_dim, action_dim, generator=generator
        )
        self.reward_optimizer = torch.optim.Adam(
            self.reward.parameters(), lr=config.reward_learning_rate, fused=True
        )

    @property
    def batch_sizes(self) -> OfflineBatchSizes:
        """What the next update draws."""
        return self.config.batch_sizes()

    @property
    def policy(self) -> Policy:
        """The actor."""
        return self.iql.policy

    @property
    def num_updates(self) -> int:
        """Updates so far."""
        return self.iql.num_updates

    def act(
        self, observations: Real[Tensor, "batch obs"], deterministic: bool
    ) -> Float[Tensor, "batch act"]:
        """Return actions in [-1, 1]: the mean, or a sample where the policy has a deviation."""
        return self.iql.act(observations, deterministic)

    def segment_scores(self, segments: Segments) -> Float[Tensor, "*shape"]:
        """Return the sum of predicted rewards of each segment, the mean over the members."""
        with torch.no_grad():
            return self.reward.segment_returns(segments).mean(0)

    def update(self, batch: OfflineBatch) -> dict[str, Tensor]:
        """Update the reward while it learns, then everything of IQL; return metrics.

        Raises:
            ValueError: if the batch lacks what `batch_sizes` asks for.
        """
        weight = self.config.dataset_weight
        if batch.pairs is None or (batch.transitions is None and weight > 0):
            raise ValueError(f"the batch must hold what {self.batch_sizes} asks for")
        encoder, generator = self.config.iql.policy.encoder, self.iql.generator
        segments = shift_segments(batch.pairs.segments, encoder, generator)
        rewards, metrics = self._learn_reward(replace(batch.pairs, segments=segments))
        features = self.policy.encode(segments.observations)
        transitions, weights = steps_of_segments(replace(segments, observations=features), rewards)
        if batch.transitions is not None and weight > 0:
            given = shift_batch(batch.transitions, encoder, generator)
            with torch.no_grad():
                learned = self.reward.mean_reward(given.observations, given.actions)
            share = torch.full_like(learned, weight / len(learned))
            transitions = _concatenated(
                transitions, self.iql.encoded(replace(given, rewards=learned))
            )
            weights = torch.cat([weights * (1 - weight), share])
        return metrics | self.iql.learn(transitions, weights)

    def _learn_reward(
        self, pairs: PairBatch
    ) -> tuple[Float[Tensor, "query two time"], dict[str, Tensor]]:
        """Return the rewards of each step before the update, and metrics of the update."""
        segments = pairs.segments
        is_learning = self.num_updates < self.config.reward_updates
        with torch.set_grad_enabled(is_learning):
            rewards = self.reward(segments.observations, segments.actions)
            score_0, score_1 = sum_score(rewards, segments.mask).unbind(-1)  # [member, query]
            losses = pairs.weights * logistic_loss(score_1 - score_0, pairs.labels)
            loss = losses.mean(-1).sum()
        if is_learning:
            self.reward_optimizer.zero_grad()
            loss.backward()
            self.reward_optimizer.step()
        is_right = is_correct(score_1 - score_0, pairs.labels)  # nowhere on ties
        num_decided = (pairs.labels != TIE).sum().clamp(min=1)
        accuracy = is_right.float().mean(0).sum() / num_decided
        metrics = {"reward_loss": loss.detach(), "reward_accuracy": accuracy}
        return rewards.detach().mean(0), metrics

    def state_dict(self) -> dict[str, Any]:
        """Return parameters, optimiser states and the number of updates."""
        return {
            "iql": self.iql.state_dict(),
            "reward": self.reward.state_dict(),
            "reward_optimizer": self.reward_optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.iql.load_state_dict(state["iql"])
        self.reward.load_state_dict(state["reward"])
        # torch keeps the tensors of a loaded optimiser and would write into the giver's.
        self.reward_optimizer.load_state_dict(copy.deepcopy(state["reward_optimizer"]))


def steps_of_segments(
    segments: Segments, rewards: Float[Tensor, "query two time"]
) -> tuple[Batch, Float[Tensor, " batch"]]:
    """Return the transitions inside segments, and weights that sum to 1 over the real ones.

    A segment of H steps has H - 1 transitions: what followed its last action is not in it. None
    counts as terminal, as in the code of CPL and IPL.
    """
    follows = segments.mask[..., 1:].flatten()
    observations = segments.observations
    batch = Batch(
        observations=observations[..., :-1, :].flatten(0, -2),
        actions=segments.actions[..., :-1, :].flatten(0, -2),
        rewards=rewards[..., :-1].flatten(),
        next_observations=observations[..., 1:, :].flatten(0, -2),
        terminated=torch.zeros_like(rewards[..., :-1]).flatten(),
    )
    return batch, follows / follows.sum()


def _concatenated(first: Batch, second: Batch) -> Batch:
    names = ("observations", "actions", "rewards", "next_observations", "terminated")
    return Batch(
        **{name: torch.cat([getattr(first, name), getattr(second, name)]) for name in names}
    )
