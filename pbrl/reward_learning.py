"""Training of the reward ensemble on labelled queries."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from pbrl.crops import Crops, crop_scores, draw_crops, whole_segments
from pbrl.examples import Examples, Windows, bootstrap_mask, held_out_mask, make_examples
from pbrl.feedback import TIE, LabelledQueries
from pbrl.fit_session import FitSession
from pbrl.graphs import Updates
from pbrl.hindsight import HindsightPrior
from pbrl.label_noise import LabelNoise
from pbrl.preference import is_correct, make_loss
from pbrl.pseudo_labels import PseudoLabels
from pbrl.randomness import RandomSource
from pbrl.replay import ReplayBuffer
from pbrl.reward_codes import RewardCodesLearner
from pbrl.reward_learning_config import RewardLearningConfig
from pbrl.reward_steps import StepData, make_step
from pbrl.rewards import STEPS_IN_CACHE, RewardEnsemble
from pbrl.state_codes import StateCodes
from pbrl.tally import Tally

__all__ = ["RewardLearner", "RewardLearningConfig"]

MEBIBYTE = 2**20
STATISTICS_AT_ONCE = 65_536  # steps


class RewardLearner:
    """Trains a reward ensemble; networks and optimiser go on from one session to the next.

    Members draw their own minibatches and are trained in one pass; their losses are summed, so that
    the effective learning rate of a member does not depend on how many there are.

    Args:
        config: how to train.
        ensemble: what is trained.
        generator: source of what is learned beside the ensemble, the world model of Hindsight PRIOR
            and codes of states; needed there alone.

    Attributes:
        optimizer: of the ensemble.
        is_trained: whether the ensemble has learned from at least one label.
        label_noise: the estimate of how many labels are right, if it is made.
        pseudo_labels: what learns from pairs without a label, if it does.
        hindsight: the prior over steps, if there is one.
        codes: what trains the codes of states and actions, if the ensemble sees these.

    Raises:
        ValueError: if the ensemble sees images, or the generator lacks.
    """

    def __init__(
        self,
        config: RewardLearningConfig,
        ensemble: RewardEnsemble,
        generator: torch.Generator | None = None,
    ) -> None:
        if ensemble.config.encoder is not None:
            raise ValueError(
                "a reward on images is learned beside its agent, by JointPIQL: here what the "
                "networks see is prepared once, which would leave the encoder as it was"
            )
        self.config = config
        self.ensemble = ensemble
        self.is_trained = False
        loss = make_loss(config.loss)
        self.label_noise: LabelNoise | None = None
        if config.label_noise is not None:
            device = next(ensemble.parameters()).device
            self.label_noise = LabelNoise(config.label_noise, loss, device)
        self.pseudo_labels: PseudoLabels | None = None
        if config.pseudo_labels is not None:
            self.pseudo_labels = PseudoLabels(config.pseudo_labels, ensemble, loss, config.score)
        self.hindsight: HindsightPrior | None = None
        if config.hindsight is not None:
            if generator is None:
                raise ValueError(
                    "hindsight needs a generator for the parameters of its world model"
                )
            observation_dim = len(ensemble.observation_moments.mean)
            self.hindsight = HindsightPrior(
                config.hindsight, observation_dim, ensemble.action_dim, generator=generator
            )
        self.codes: RewardCodesLearner | None = None
        if ensemble.config.codes is not None:
            if generator is None:
                raise ValueError("codes need a generator for the batches that they learn from")
            assert isinstance(ensemble.codes, StateCodes)  # the configuration asks for them
            self.codes = RewardCodesLearner(
                ensemble.config.codes, ensemble.codes, generator=generator
            )
        self._loss = self.label_noise or loss
        self.optimizer = torch.optim.Adam(
            ensemble.network.parameters(), lr=config.learning_rate, fused=True
        )

    def fit(
        self,
        labelled: LabelledQueries,
        replay: ReplayBuffer,
        generator: torch.Generator,
        max_steps: int | None = None,
    ) -> dict[str, float]:
        """Train on all labels so far and return what the session came to.

        Ties count for the loss and not for any accuracy: B-Pref's code counts a tie as correct
        whenever segment 0 is predicted. Training accuracy is that of the predictions made on the
        way, before each gradient step, over all members.

        Args:
            labelled: every answer with a label; answer weights act within their minibatch.
            replay: where the segments lie.
            generator: source of randomness, on the device of the replay buffer.
            max_steps: stop after so many gradient steps; a session cut at the end of a pass and
                gone on with in another call is the same, unless its accuracy is taken "session" or
                it learns from pairs without a label, which are drawn anew.

        Returns:
            reward/loss (of the labels, mean over members, last pass), reward/steps, reward/passes,
            reward/accuracy if a label is not a tie, and reward/validation_accuracy if one of those
            is held out; with a prior reward/hindsight_loss, likewise and without its weight, and
            what its world model came to, if it learned; likewise of codes; with pseudo-labels
            reward/sure, the share of pairs that the reward labelled.

        Raises:
            ValueError: if there is no label.
        """
        session = self.begin(labelled, replay, generator, max_steps)
        self.take_passes(session)
        return self.end(session)

    def begin(
        self,
        labelled: LabelledQueries,
        replay: ReplayBuffer,
        generator: torch.Generator,
        max_steps: int | None = None,
    ) -> FitSession:
        """Prepare a fit, see there; its passes come next, and then `end`."""
        if len(labelled) == 0:
            raise ValueError("a reward cannot be learned from no labels at all")
        self._refresh_observation_moments(replay)
        world = self.learn_world(labelled, replay)
        if self.codes is not None:
            world |= self.codes.fit(replay, self.ensemble.standardized)
        training, held_out = self._split(labelled, replay)
        most = self.config.num_steps(len(training))
        most = most if max_steps is None else min(most, max_steps)
        unlabelled = None
        if self.pseudo_labels is not None:
            limit = self.config.memory_limit * MEBIBYTE
            unlabelled = self.pseudo_labels.draw(labelled, replay, generator, limit)
        return FitSession(self.config, training, held_out, generator, most, world, unlabelled)

    def take_passes(self, session: FitSession, updates: Updates = "eager") -> None:
        """Take the gradient steps of a fit, made in one of the ways of `make_step`."""
        data = StepData(session.training, session.generator, session.unlabelled)
        session.take_passes(make_step(self, data, updates))

    def end(self, session: FitSession) -> dict[str, float]:
        """Finish a fit: refresh the moments of rewards, and return its metrics."""
        self._refresh_reward_moments(session.training.windows)
        self.is_trained = True
        tally, steps = session.tally, session.num_steps
        metrics = {
            "reward/loss": tally.loss() / self.ensemble.num_members,
            "reward/accuracy": tally.accuracy(),
            "reward/validation_accuracy": self._judge(session.held_out).accuracy(),
            "reward/steps": float(steps),
            "reward/passes": steps / session.steps_per_pass,
        }
        if self.hindsight is not None:
            metrics["reward/hindsight_loss"] = tally.distance() / self.ensemble.num_members
        if self.pseudo_labels is not None:
            metrics["reward/sure"] = tally.sure()
        found = {name: value for name, value in metrics.items() if value is not None}
        return found | session.metrics

    def learn_world(
        self, labelled: LabelledQueries, replay: ReplayBuffer, max_updates: int | None = None
    ) -> dict[str, float]:
        """Let the world model of a prior take the updates that are due, as `fit` does at its start.

        Args:
            labelled: whose longest segment says how far the model must see.
            replay: what it learns from.
            max_updates: leave those beyond for another call.

        Returns:
            See `WorldModelLearner.fit`; nothing without a prior.
        """
        if self.hindsight is None:
            return {}
        return self.hindsight.world.fit(replay, int(labelled.index.length.max()), max_updates)

    def _split(self, labelled: LabelledQueries, replay: ReplayBuffer) -> tuple[Examples, Examples]:
        """Return the examples to learn from and those held out.

        While few labels might all be held out, none is.
        """
        examples = make_examples(
            labelled, replay, self.ensemble, self.config.memory_limit * MEBIBYTE
        )
        if self.hindsight is not None:
            importance = self.hindsight.importance(examples.windows.index, replay)
            examples = replace(examples, importance=importance)
        index = labelled.index.to(replay.device)
        held_out = held_out_mask(index, self.config.validation_share)
        held_out &= ~held_out.all()
        sees = bootstrap_mask(index, self.ensemble.num_members, self.config.bootstrap_share)
        training = replace(examples, weights=examples.weights * sees)
        return training.subset(~held_out), examples.subset(held_out)

    def take_step(
        self,
        examples: Examples,
        batch: Int[Tensor, "*seed member pair"],
        tally: Tally,
        generator: RandomSource,
        unlabelled: Examples | None = None,
    ) -> None:
        """Take one gradient step; each member has a minibatch of its own.

        Args:
            examples: of one seed, or joined ones of several.
            batch: rows of the examples.
            tally: of as many seeds; counts what the step came to.
            generator: of crops, and of pairs without a label.
            unlabelled: those pairs, where they are learned from; of one seed.
        """
        lengths = examples.windows.lengths[examples.pairs[batch]]  # [member, pair, two]
        crops = self._crops(lengths, generator)
        self.optimizer.zero_grad(set_to_none=True)
        for loss in self._losses(examples, batch, crops, tally):
            loss.sum().backward()
        if self.pseudo_labels is not None and unlabelled is not None:
            assert isinstance(generator, torch.Generator)  # seeds take these fits one by one
            for loss in self.pseudo_labels.losses(
                unlabelled,
                self.config.batch_size,
                crop=partial(self._crops, generator=generator),
                tally=tally,
                generator=generator,
            ):
                loss.backward()
        self.optimizer.step()
        if self.label_noise is not None:
            self.label_noise.step()

    def _crops(self, lengths: Int[Tensor, "*shape two"], generator: RandomSource) -> Crops:
        if self.config.crops is None:
            return whole_segments(lengths)
        return draw_crops(self.config.crops, lengths, generator)

    @torch.no_grad()
    def _judge(self, examples: Examples) -> Tally:
        """Return how well every member predicts these labels."""
        tally = Tally(examples.labels.device)
        rows = torch.arange(len(examples), device=examples.labels.device)
        for part in rows.split(self.config.batch_size):
            batch = part.expand(self.ensemble.num_members, -1)
            crops = whole_segments(examples.windows.lengths[examples.pairs[batch]])
            for _ in self._losses(examples, batch, crops, tally):
                pass
        return tally

    def _losses(
        self,
        examples: Examples,
        batch: Int[Tensor, "*seed member pair"],
        crops: Crops,
        tally: Tally,
    ) -> Iterator[Tensor]:
        """Yield the loss of a minibatch in parts, summed over members, and count what is right.

        The parts add up to the mean over pairs and crops. On a CPU they are so small that their
        activations stay in the cache, which lets the step run at the speed of its matrix products.
        """
        tally.num_steps += 1
        weights = examples.weights.gather(-1, batch)
        share = weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
        size = batch.shape[-1]
        if batch.device.type == "cpu":
            size = max(1, STEPS_IN_CACHE // (2 * examples.windows.horizon))
        for start in range(0, batch.shape[-1], size):
            part = slice(start, start + size)
            inputs = examples.windows.take(examples.pairs[batch[..., part]])
            rewards = self.ensemble.evaluate(inputs)  # [member, pair, two, time]
            cropped = Crops(crops.start[..., part, :, :], crops.end[..., part, :, :])
            returns = crop_scores(rewards, cropped, self.config.score)
            return_0, return_1 = returns.unbind(-2)  # [member, pair, crop]
            labels = examples.labels[batch[..., part]][..., None]
            loss = self._loss(return_0, return_1, labels).mean(-1) * share[..., part]
            loss = loss.sum((-2, -1))
            counts = (labels != TIE) & (weights[..., part, None] > 0)
            tally.add(loss, is_correct(return_1 - return_0, labels) & counts, counts)
            if self.hindsight is not None and examples.importance is not None:
                rows = examples.pairs[batch[..., part]]
                distance = self.hindsight.distance(
                    rewards, examples.importance[rows], examples.windows.lengths[rows]
                )
                distance = (distance.mean(-1) * share[..., part]).sum((-2, -1))
                tally.add_distance(distance)
                loss = loss + self.hindsight.config.weight * distance
            yield loss

    def _refresh_observation_moments(self, replay: ReplayBuffer) -> None:
        if self.ensemble.config.normalize_observations:
            moments = self.ensemble.observation_moments
            moments.reset()
            for part in replay.all_observations().split(STATISTICS_AT_ONCE):
                moments.update(part)

    @torch.no_grad()
    def _refresh_reward_moments(self, windows: Windows) -> None:
        if self.ensemble.config.normalize_rewards:
            self.ensemble.reward_moments.reset()
            rows = torch.arange(len(windows), device=windows.lengths.device)
            for part in rows.split(max(1, STATISTICS_AT_ONCE // windows.horizon)):
                rewards = self.ensemble.evaluate(windows.take(part)[None]).mean(0)
                time = torch.arange(rewards.shape[1], device=rewards.device)
                mask = time < windows.lengths[part, None]
                self.ensemble.reward_moments.update(rewards[mask])

    @property
    def num_steps(self) -> int:
        """Gradient steps so far."""
        states = self.optimizer.state.values()
        return max((int(state["step"]) for state in states), default=0)

    def state_dict(self) -> dict[str, Any]:
        """Return the ensemble with its normalisers, the optimiser and whether they have learned."""
        state = {
            "ensemble": self.ensemble.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "is_trained": self.is_trained,
        }
        if self.label_noise is not None:
            state["label_noise"] = self.label_noise.state_dict()
        if self.hindsight is not None:
            state["hindsight"] = self.hindsight.state_dict()
        if self.codes is not None:
            state["codes"] = self.codes.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.ensemble.load_state_dict(state["ensemble"])
        # torch keeps the tensors of a loaded state and would write into the giver's.
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.is_trained = bool(state["is_trained"])
        if self.label_noise is not None:
            self.label_noise.load_state_dict(state["label_noise"])
        if self.hindsight is not None:
            self.hindsight.load_state_dict(state["hindsight"])
        if self.codes is not None:
            self.codes.load_state_dict(state["codes"])
