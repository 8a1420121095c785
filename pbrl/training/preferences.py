"""Where an online agent's reward comes from: the environment itself, or preferences."""

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.feedback import Answers, FeedbackStore, Queries
from pbrl.queries.samplers import Sampler
from pbrl.queries.schedules import FeedbackSchedule
from pbrl.queries.teachers import StatefulTeacher, Teacher
from pbrl.randomness import Generators
from pbrl.replay import ReplayBuffer
from pbrl.reward_learning import RewardLearner
from pbrl.segments import Segments
from pbrl.training.config import Control

Metrics = dict[str, float]


@dataclass(frozen=True)
class TrainingProgress:
    """What a teacher scales its thresholds by.

    Attributes:
        recent_return: mean true return of the last training episodes.
        episode_length: steps of a full episode.
    """

    recent_return: float
    episode_length: int


@runtime_checkable
class RewardSource(Protocol):
    """What the loop needs to know about rewards."""

    def step_rewards(
        self,
        observations: Float[Tensor, "env obs"],
        actions: Float[Tensor, "env act"],
        true_rewards: Float[Tensor, " env"],
    ) -> Float[Tensor, " env"]:
        """Return the rewards to store with new steps."""
        ...

    def hold_session(self, step: int, stride: int, progress: TrainingProgress) -> Metrics | None:
        """Ask, learn the reward and relabel the replay buffer, if a session is due.

        Args:
            step: environment steps so far.
            stride: environment steps since the last call.
            progress: what the teacher may want to know.

        Returns:
            What the session came to; None if none was due.
        """
        ...

    @property
    def is_asking(self) -> bool:
        """Whether part of the budget is left."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether there is a reward to learn from; before that the agent explores."""
        ...

    @property
    def num_asked(self) -> int:
        """Queries asked so far."""
        ...

    @property
    def num_labelled(self) -> int:
        """Labels received so far."""
        ...

    def ask_again(self, progress: TrainingProgress) -> None:
        """Put queries that were asked but not answered to the teacher once more."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


class TrueReward:
    """The environment's own reward: the agent that learns from it is the oracle."""

    is_asking = False
    is_ready = True
    num_asked = 0
    num_labelled = 0

    def step_rewards(self, observations: Tensor, actions: Tensor, true_rewards: Tensor) -> Tensor:
        """Return the true rewards."""
        del observations, actions
        return true_rewards

    def hold_session(self, step: int, stride: int, progress: TrainingProgress) -> None:
        """Ask nobody."""
        del step, stride, progress

    def ask_again(self, progress: TrainingProgress) -> None:
        """Do nothing: nobody was asked."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: there is no state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore nothing."""


class PreferenceReward:
    """A reward ensemble that learns from a teacher's answers.

    Args:
        learner: trains the reward ensemble.
        sampler: chooses the queries; the first session draws uniformly.
        schedule: when to ask, and how many.
        teacher: answers, now or later.
        replay: where the segments come from and the rewards go.
        generators: with the purposes "queries", "teacher" and "reward".
        control: corrupts every answer, see `corrupted`.
    """

    def __init__(
        self,
        *,
        learner: RewardLearner,
        sampler: Sampler,
        schedule: FeedbackSchedule,
        teacher: Teacher,
        replay: ReplayBuffer,
        generators: Generators,
        control: Control = "none",
    ) -> None:
        self.control = control
        self.learner = learner
        self.sampler = sampler
        self.schedule = schedule
        self.teacher = teacher
        self.replay = replay
        self.generators = generators
        self.feedback = FeedbackStore(replay.device)

    @property
    def is_asking(self) -> bool:
        """Whether part of the budget is left."""
        return self.feedback.num_asked < self.schedule.config.budget

    @property
    def is_ready(self) -> bool:
        """Whether the ensemble has learned from at least one label."""
        return self.learner.is_trained

    @property
    def num_asked(self) -> int:
        """Queries asked so far, those skipped included."""
        return self.feedback.num_asked

    @property
    def num_labelled(self) -> int:
        """Labels received so far."""
        return self.feedback.num_labelled

    def step_rewards(self, observations: Tensor, actions: Tensor, true_rewards: Tensor) -> Tensor:
        """Return the ensemble's mean reward; zeros before it has learned from anything."""
        if not self.learner.is_trained:
            return torch.zeros_like(true_rewards)
        return self.rewards(observations, actions)

    def rewards(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Return the reward that the agent learns from."""
        with torch.no_grad():
            return self.learner.ensemble.mean_reward(observations, actions)

    def hold_session(self, step: int, stride: int, progress: TrainingProgress) -> Metrics | None:
        """Ask the teacher, learn the reward and relabel the replay buffer, if it is time."""
        number = self.schedule.session_size(step, self.feedback.num_asked, stride)
        if number == 0:
            return None
        labelled = self.feedback.labelled()
        index = self.sampler(
            self.replay,
            self.learner.ensemble if self.learner.is_trained else None,
            number,
            self.generators["queries"],
            labelled.index,
        )
        self.replay.retain(index)
        ids = self.feedback.ask(index, step)
        metrics = self._accuracy_before_learning(self._put_to_teacher(ids, progress))
        return metrics | self._learn()

    def _put_to_teacher(self, ids: Tensor, progress: TrainingProgress) -> Segments:
        index = self.feedback.index(ids)
        segments = self.replay.gather(index)
        queries = Queries(ids, index, segments, progress.recent_return, progress.episode_length)
        generator = self.generators["teacher"]
        answers = self.teacher(queries, generator)
        self.feedback.answer(corrupted(answers, self.control, generator))
        return segments

    def _learn(self) -> Metrics:
        labelled = self.feedback.labelled()
        if len(labelled) == 0:
            return {}
        metrics = self.learner.fit(labelled, self.replay, self.generators["reward"])
        self.replay.relabel(self.rewards)
        return metrics

    def _accuracy_before_learning(self, segments: Segments) -> Metrics:
        """Agreement with the noiseless order on pairs that the ensemble has not learned from."""
        if not self.learner.is_trained:
            return {}
        with torch.no_grad():
            returns = self.learner.ensemble.segment_returns(segments).mean(0)  # [query, 2]
        true = segments.true_returns()
        decided = true[:, 0] != true[:, 1]
        agree = ((returns[:, 1] > returns[:, 0]) == (true[:, 1] > true[:, 0]))[decided]
        return {"reward/unseen_accuracy": float(agree.float().mean())} if len(agree) else {}

    def ask_again(self, progress: TrainingProgress) -> None:
        """Put queries that were asked but not answered to the teacher once more."""
        waiting = self.feedback.pending()
        if len(waiting) > 0:
            self._put_to_teacher(waiting, progress)
            self._learn()

    def state_dict(self) -> dict[str, Any]:
        """Return the feedback, the ensemble, its optimiser and the teacher's memory.

        The schedule's position is the number of queries asked.
        """
        state = {"feedback": self.feedback.state_dict(), "learner": self.learner.state_dict()}
        if isinstance(self.teacher, StatefulTeacher):
            state["teacher"] = self.teacher.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.feedback.load_state_dict(state["feedback"])
        self.learner.load_state_dict(state["learner"])
        if isinstance(self.teacher, StatefulTeacher):
            self.teacher.load_state_dict(state["teacher"])


def corrupted(answers: Answers, control: Control, generator: torch.Generator) -> Answers:
    """Return answers spoilt on purpose: what learns from them all the same needs no labels.

    Args:
        answers: of one session.
        control: "flipped-labels" turns every label round, "shuffled-labels" gives every query of
            the session the label of another, "none" leaves them.
        generator: source of randomness.
    """
    match control:
        case "none":
            return answers
        case "flipped-labels":
            return replace(answers, labels=1.0 - answers.labels)
        case "shuffled-labels":
            order = torch.randperm(len(answers), generator=generator, device=generator.device)
            return replace(answers, labels=answers.labels[order.to(answers.labels.device)])
