"""How well a policy does, as one number with a name: in an environment, or on labels held out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from gymnasium.vector import VectorEnv
from jaxtyping import Float
from torch import Tensor

from pbrl.agents.policies import Policy as DensityPolicy
from pbrl.agents.policies import evaluating
from pbrl.feedback import TIE, LabelledQueries
from pbrl.offline.dataset import ReferenceScores
from pbrl.preference import is_correct, sum_score
from pbrl.replay import ReplayBuffer
from pbrl.segments import Segments
from pbrl.training.evaluation import Evaluation, Policy, evaluate, random_policy
from pbrl.training.result import LABEL_ACCURACY, LOG_LIKELIHOOD, NORMALIZED_RETURN

PAIRS_AT_ONCE = 256


@dataclass(frozen=True)
class Score:
    """What a policy came to.

    Attributes:
        name: "return", "success", "normalized_return", "label_accuracy" or "log_likelihood".
        value: higher is better.
        metrics: what belongs into the log beside it.
    """

    name: str
    value: float
    metrics: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Scorer(Protocol):
    """Scores the policy that is being learned, and one that acts at random."""

    def __call__(self) -> Score:
        """Return the score of the policy as it is."""
        ...

    def random(self) -> Score | None:
        """Return the score of a random policy; None where there is no telling."""
        ...


class ScorerWithMore:
    """A scorer for the score, and other measurements beside it.

    Args:
        scorer: gives the score.
        measure: returns the others by name.
    """

    def __init__(self, scorer: Scorer, measure: Callable[[], Mapping[str, float]]) -> None:
        self._scorer = scorer
        self._measure = measure

    def __call__(self) -> Score:
        """Return the score, with the metrics of both."""
        score = self._scorer()
        return Score(score.name, score.value, {**score.metrics, **self._measure()})

    def random(self) -> Score | None:
        """Return what the scorer says of a random policy."""
        return self._scorer.random()


class EnvironmentScorer:
    """Complete episodes of an environment.

    The seed is the same every time: evaluations differ by the policy alone, also after a resume.

    Args:
        act: the policy, deterministic.
        env: to act in.
        num_episodes: per evaluation.
        seed: of the environment.
        noise: draws the actions of the random policy, on the device of the observations.
        reference: normalises returns; None leaves them as they are.
    """

    def __init__(
        self,
        act: Policy,
        env: VectorEnv[Any, Any, Any],
        num_episodes: int,
        *,
        seed: int,
        noise: torch.Generator,
        reference: ReferenceScores | None = None,
    ) -> None:
        self.env = env
        self._act = act
        self._num_episodes = num_episodes
        self._seed = seed
        self._noise = noise
        self._reference = reference

    def __call__(self) -> Score:
        """Return the mean score of the policy's episodes."""
        return self._score(self._act)

    def random(self) -> Score:
        """Return the mean score of episodes with uniformly random actions."""
        action_shape = self.env.single_action_space.shape
        assert action_shape is not None  # checked when the run was built
        return self._score(random_policy(action_shape[0], self._noise))

    def _score(self, act: Policy) -> Score:
        outcome = evaluate(act, self.env, self._num_episodes, seed=self._seed)
        metrics = {"eval/return": outcome.mean_return}
        if outcome.success_rate is not None:
            metrics["eval/success"] = outcome.success_rate
        return self._named(outcome, metrics)

    def _named(self, outcome: Evaluation, metrics: dict[str, float]) -> Score:
        if outcome.success_rate is not None or self._reference is None:
            return Score(outcome.score_name, outcome.score, metrics)
        normalized = float(self._reference.normalized(outcome.mean_return))
        return Score(
            NORMALIZED_RETURN, normalized, metrics | {f"eval/{NORMALIZED_RETURN}": normalized}
        )


@runtime_checkable
class ScoresSegments(Protocol):
    """An agent that knows itself which segments it prefers."""

    def segment_scores(self, segments: Segments) -> Float[Tensor, "*shape"]:
        """Return a number per segment, higher is better."""
        ...


class HeldOutScorer:
    """Accuracy on labels held out, or where there are none the log-likelihood of the data.

    The accuracy is the share of preferences that scores of segments put in order, ties left out. It
    is no measure of how well a policy acts: a policy that has left the data can have a high one.

    Args:
        agent: has a policy with a density, or with labels held out scores segments.
        replay: where the segments lie.
        held_out: pairs that nobody learns from; None scores by the likelihood alone.
        segments: data whose log-likelihood per step is reported.
        score: of segments, other than the agent's own, such as a learned reward.
        view: what is done to segments before the agent sees them; a `score` sees them as they are.

    Raises:
        ValueError: if the agent has no policy with a density, and that is needed.
    """

    def __init__(  # noqa: PLR0913  keyword-only
        self,
        agent: Any,
        replay: ReplayBuffer,
        *,
        held_out: LabelledQueries | None,
        segments: Segments,
        score: Callable[[Segments], Tensor] | None = None,
        view: Callable[[Segments], Segments] = lambda segments: segments,
    ) -> None:
        policy = getattr(agent, "policy", None)
        self._density = policy if isinstance(policy, DensityPolicy) else None
        judges = score is not None or isinstance(agent, ScoresSegments)
        if self._density is None and (held_out is None or not judges):
            raise ValueError(
                f"{type(agent).__name__} has no density to be scored by; give an environment"
            )
        self._agent = agent
        self._replay = replay
        self._held_out = held_out
        self._segments = view(segments)
        self._view = view
        self._score = score or self._own_score

    @torch.no_grad()
    def __call__(self) -> Score:
        """Return the accuracy on the pairs held out, or without them the log-likelihood."""
        if self._density is None:
            assert self._held_out is not None  # checked
            accuracy = self._accuracy(self._held_out)
            return Score(LABEL_ACCURACY, accuracy, {f"eval/{LABEL_ACCURACY}": accuracy})
        with evaluating(self._density):
            steps = self._log_density(self._segments).sum() / self._segments.mask.sum()
            metrics = {f"eval/{LOG_LIKELIHOOD}": float(steps)}
            if self._held_out is None:
                return Score(LOG_LIKELIHOOD, float(steps), metrics)
            accuracy = self._accuracy(self._held_out)
        return Score(LABEL_ACCURACY, accuracy, metrics | {f"eval/{LABEL_ACCURACY}": accuracy})

    def random(self) -> None:
        """Return nothing: a random policy has no opinion on labels."""

    def _own_score(self, segments: Segments) -> Tensor:
        segments = self._view(segments)
        if isinstance(self._agent, ScoresSegments):
            return self._agent.segment_scores(segments)
        return self._log_density(segments)

    def _log_density(self, segments: Segments) -> Tensor:
        assert self._density is not None  # checked
        values = self._density.log_prob(segments.observations, segments.actions)
        return sum_score(values, segments.mask)

    def _accuracy(self, labelled: LabelledQueries) -> float:
        num_right = 0.0
        decided = labelled.labels != TIE
        rows = decided.nonzero()[:, 0]
        for part in rows.split(PAIRS_AT_ONCE):
            segments = self._replay.gather(labelled.index[part])
            score_0, score_1 = self._score(segments).unbind(-1)
            labels = labelled.labels[part].to(score_0.device)
            num_right += float(is_correct(score_1 - score_0, labels).sum())
        return num_right / len(rows)
