"""A reward that an online agent learns from preferences."""

import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pbrl.feedback import Answers, FeedbackStore, Queries
from pbrl.queries.patience import Patience, PatienceConfig
from pbrl.queries.samplers import PoolSampler, Sampler
from pbrl.queries.schedules import FeedbackSchedule
from pbrl.queries.teachers import LateTeacher, StatefulTeacher, Teacher, teacher_kind
from pbrl.queries.usefulness import UselessAnswers
from pbrl.randomness import Generators
from pbrl.replay import ReplayBuffer
from pbrl.reward_learning import RewardLearner
from pbrl.segments import Segments
from pbrl.training.config import Control
from pbrl.training.reward_source import AskedSession, Metrics, TrainingProgress
from pbrl.training.together import RewardFit


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
        patience: how far to run ahead of a teacher who answers later.
    """

    def __init__(  # noqa: PLR0913  keyword-only
        self,
        *,
        learner: RewardLearner,
        sampler: Sampler,
        schedule: FeedbackSchedule,
        teacher: Teacher,
        replay: ReplayBuffer,
        generators: Generators,
        control: Control = "none",
        patience: PatienceConfig | None = None,
    ) -> None:
        self.control = control
        self.learner = learner
        self.sampler = sampler
        self.schedule = schedule
        self.teacher = teacher
        self.replay = replay
        self.generators = generators
        self.feedback = FeedbackStore(replay.device)
        self.patience = Patience(patience or PatienceConfig(), schedule.config.interval)
        self._useless = UselessAnswers()

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
        """Ask, learn the reward and relabel the replay buffer, if it is time; see `begin_session`.

        Returns:
            What the session came to; None if none was due.
        """
        session = self.begin_session(step, stride, progress)
        return None if session is None else self._held(session)

    def begin_session(
        self, step: int, stride: int, progress: TrainingProgress
    ) -> AskedSession | None:
        """Ask the teacher if it is time, and begin to learn; `end_session` comes after the passes.

        A session for which the sampler has no episode yet stays due, and is held at the first step
        at which it has; sessions that become due meanwhile join it. One that is planned for step 0
        is due with the first steps.

        Returns:
            What was begun; None if no session was due.

        Raises:
            ValueError: if the run is over and no session could be held in it.
        """
        patience = self.patience
        asked = self.feedback.num_asked + patience.num_owed
        passed = stride + 1 if 0 < step == stride else stride  # the first steps pass step 0 too
        patience.num_owed += self.schedule.session_size(step, asked, passed)
        if patience.lets_ask and self._has_episodes(step):
            return self._ask(step, progress)
        may_have_answers = patience.num_open > 0 or isinstance(self.teacher, LateTeacher)
        if may_have_answers and patience.looks(step, stride):
            self._put_to_teacher(self.feedback.pending()[:0], step, progress)
            if patience.is_enough:
                return self._begin_to_learn(step, {})
        return None

    def end_session(self, session: AskedSession) -> Metrics:
        """Relabel the replay buffer by what was learned; return what the session came to."""
        if session.fit is None:
            return session.metrics
        metrics = self.learner.end(session.fit.session)
        self.replay.relabel(self.rewards)
        self.patience.note(session.step, self.patience.num_open, learned=True)
        return session.metrics | metrics

    def _held(self, session: AskedSession) -> Metrics:
        if session.fit is not None:
            session.fit.learner.take_passes(session.fit.session)
        return self.end_session(session)

    def waits_for(self, step: int) -> str:
        """Return what must come in before the next step is taken, in words; empty for nothing."""
        return f"{self.patience.num_open:,} answers" if self.patience.is_over(step) else ""

    def wait(self) -> None:
        """Let the time between two looks for answers pass."""
        time.sleep(self.patience.config.poll_seconds)

    def _has_episodes(self, step: int) -> bool:
        """Return whether queries can be drawn.

        At the end of a run that asked nothing it is true all the same: the sampler then says what
        it lacks.
        """
        sampler = self.sampler
        if not isinstance(sampler, PoolSampler):
            return True
        is_in_vain = step >= self.schedule.config.total_steps and self.num_asked == 0
        return is_in_vain or sampler.can_draw(self.replay, self.patience.num_owed)

    def _ask(self, step: int, progress: TrainingProgress) -> AskedSession:
        index = self.sampler(
            self.replay,
            self.learner.ensemble if self.learner.is_trained else None,
            self.patience.num_owed,
            self.generators["queries"],
            self.feedback.labelled().index,
        )
        self.replay.retain(index)
        ids = self.feedback.ask(index, step)
        self._useless.session_size = len(ids)
        self.patience.num_owed = 0
        segments = self._put_to_teacher(ids, step, progress)
        return self._begin_to_learn(step, self._accuracy_before_learning(segments))

    def _put_to_teacher(self, ids: Tensor, step: int, progress: TrainingProgress) -> Segments:
        index = self.feedback.index(ids)
        segments = self.replay.gather(index)
        queries = Queries(
            ids, index, segments, progress.recent_return, progress.episode_length, step
        )
        generator = self.generators["teacher"]
        answers = self.teacher(queries, generator)
        self.feedback.answer(corrupted(answers, self.control, generator))
        num_new = int((~answers.labels.isnan()).sum())
        self.patience.note(step, len(self.feedback.pending()), num_new=num_new)
        self._useless.look(answers)
        return segments

    def _begin_to_learn(self, step: int, metrics: Metrics) -> AskedSession:
        labelled = self.feedback.labelled()
        if len(labelled) == 0:
            return AskedSession(step, metrics)
        begun = self.learner.begin(labelled, self.replay, self.generators["reward"])
        return AskedSession(step, metrics, RewardFit(self.learner, begun))

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
            self._put_to_teacher(waiting, self.patience.step, progress)
            if self.patience.num_fresh > 0:
                self._held(self._begin_to_learn(self.patience.step, {}))

    def saved(self) -> None:
        """Tell a teacher who answers later that a crash cannot undo what was asked so far."""
        if isinstance(self.teacher, LateTeacher):
            self.teacher.saved()

    def state_dict(self) -> dict[str, Any]:
        """Return the feedback, the ensemble, its optimiser and the teacher's memory.

        The schedule's position is the number of queries asked.
        """
        state: dict[str, Any] = {
            "feedback": self.feedback.state_dict(),
            "learner": self.learner.state_dict(),
            "patience": self.patience.state_dict(),
            "teacher_kind": teacher_kind(self.teacher),
        }
        if isinstance(self.teacher, StatefulTeacher):
            state["teacher"] = self.teacher.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: if it is of another kind of teacher, naming both.
        """
        self._check_teacher(state)
        self.feedback.load_state_dict(state["feedback"])
        self.learner.load_state_dict(state["learner"])
        if "patience" in state:  # checkpoints of version 0.1 may lack it
            num_open = len(self.feedback.pending())
            self.patience.load_state_dict(state["patience"], num_open)
        if isinstance(self.teacher, StatefulTeacher):
            self.teacher.load_state_dict(state["teacher"])

    def _check_teacher(self, state: dict[str, Any]) -> None:
        now, remembers = teacher_kind(self.teacher), isinstance(self.teacher, StatefulTeacher)
        # checkpoints of version 0.1 do not name it
        stored = state.get("teacher_kind", now if ("teacher" in state) == remembers else "another")
        if stored != now:
            raise ValueError(
                f"the run learned from a teacher of the kind {stored}, and the one to go on with "
                f"is of the kind {now}: give it the teacher it had, or start a new run"
            )


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
