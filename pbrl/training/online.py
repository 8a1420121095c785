"""The online loop: act, store, ask when it is time, learn."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pbrl.agents.protocol import OnlineAgent
from pbrl.agents.recorded import Updates, check_recordable, make_update
from pbrl.intrinsic import IntrinsicReward
from pbrl.randomness import Generators
from pbrl.replay import Batch, ReplayBuffer
from pbrl.training.batches import make_experience
from pbrl.training.collector import Collector
from pbrl.training.config import TrainConfig
from pbrl.training.preferences import PreferenceReward
from pbrl.training.reward_source import AskedSession, Metrics, TrainingProgress, TrueReward
from pbrl.training.salvage import keep_labels
from pbrl.training.together import RewardFit, advance

PURPOSES = ("agent", "actions", "replay", "queries", "teacher", "reward", "initial")


class OnlineLoop:
    """Online learning from preferences, or from true reward when there are none.

    The loop of PEBBLE (Lee et al. 2021, algorithm 2): random actions, exploration by intrinsic
    reward, then sessions in which queries are asked, the reward is learned and the replay buffer
    relabelled, with agent updates at every step. Methods differ by the parts they bring; an agent
    asks for the steps that it learns from, which says when too (`pbrl.training.batches`).

    Args:
        config: the run.
        collector: the environments and the replay buffer they write to.
        agent: learns from batches of the replay buffer.
        source: where rewards come from.
        intrinsic: reward of the exploration before the first session; not used on true reward.
        generators: one per purpose, see `PURPOSES`.
        episode_length: steps of a full episode, which teachers scale their thresholds by.

    Raises:
        ValueError: if updates shall be recorded and the agent's cannot.
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        collector: Collector,
        agent: OnlineAgent,
        source: PreferenceReward | TrueReward,
        intrinsic: IntrinsicReward,
        generators: Generators,
        episode_length: int,
    ) -> None:
        if config.updates == "graph":
            check_recordable(agent)
        self.config = config
        self.collector = collector
        self.agent = agent
        self.source = source
        self.intrinsic = intrinsic
        self.generators = generators
        self.episode_length = episode_length
        self.experience = make_experience(
            agent.batch_steps,
            config,
            replay=collector.replay,
            source=source,
            intrinsic=intrinsic,
            generator=generators["replay"],
        )
        self.step = 0
        self.num_updates = 0
        self.session_metrics: Metrics = {}
        self.num_sessions = 0
        self._update_metrics: dict[str, Tensor] = {}
        self._session: AskedSession | None = None
        self._last_actions: Tensor | None = None
        self._is_cut_off = False  # whether an interruption lies between what was and what comes
        self._explores = not source.is_ready  # until the switch to a learned reward

    @property
    def replay(self) -> ReplayBuffer:
        """The steps taken so far."""
        return self.collector.replay

    @property
    def num_asked(self) -> int:
        """Queries asked so far."""
        return self.source.num_asked

    @property
    def num_labelled(self) -> int:
        """Labels received so far."""
        return self.source.num_labelled

    @property
    def is_asking(self) -> bool:
        """Whether part of the budget is left."""
        return self.source.is_asking

    @property
    def num_milestones(self) -> int:
        """Sessions held."""
        return self.num_sessions

    @property
    def reward_accuracy(self) -> float | None:
        """Of the learned reward on its labels, in the last session."""
        return self.session_metrics.get("reward/accuracy")

    @property
    def phase(self) -> str:
        """What the run waits for, if it does."""
        awaited = self.source.waits_for(self.step)
        return f"waiting for {awaited}" if awaited else ""

    is_preparing = False  # exploration is part of the steps

    def advance(self) -> None:
        """Take one step in every environment and learn as much as that allows.

        While the source of rewards waits, no step is taken: it may only hold a session.
        """
        advance(self)

    def begin(self) -> None:
        """Take one step in every environment, and ask if it is time."""
        if self._is_cut_off:
            self._go_on()
        stride = 0
        if self.source.waits_for(self.step):
            self.source.wait()
        else:
            self._last_actions = self._actions()
            self.collector.step(self._last_actions, self.source.step_rewards)
            stride = self.collector.env.num_envs
            self.step += stride
        self._session = self.source.begin_session(self.step, stride, self._progress)

    @property
    def fit(self) -> RewardFit | None:
        """The fit of the reward that the answers of a session begin."""
        return None if self._session is None else self._session.fit

    def end(self) -> int:
        """Finish the session, if there is one, and return how many updates the steps allow."""
        if self._session is not None:
            self.session_metrics = self.source.end_session(self._session)
            self.num_sessions += 1
            self._session = None
        if self._explores and self.source.is_ready:  # also by answers to what was asked again
            self._switch()
        return max(0, self.experience.num_due(self.step) - self.num_updates)

    def draw(self) -> Batch:
        """Return what the agent learns from next."""
        return self.experience.draw()

    @property
    def updates(self) -> Updates:
        """How updates, and the gradient steps of a reward, are made."""
        return self.config.updates

    @cached_property
    def update(self) -> Callable[[Batch], dict[str, Tensor]]:
        """From a batch to the metrics of the agent's update on it."""
        return make_update(self.agent, self.config.updates)

    def learned(self, metrics: dict[str, Tensor]) -> None:
        """Note an update of the agent."""
        self._update_metrics = metrics
        self.num_updates += 1

    def _actions(self) -> Tensor:
        observations = self.collector.observations
        if self.step < self.config.seed_steps:
            shape = (len(observations), self.agent.action_dim)
            uniform = torch.rand(
                shape, generator=self.generators["actions"], device=observations.device
            )
            return 2.0 * uniform - 1.0
        return self.agent.act(observations, deterministic=False)

    @property
    def _progress(self) -> TrainingProgress:
        return TrainingProgress(self.collector.recent_return, self.episode_length)

    def _switch(self) -> None:
        """Leave exploration: a fresh critic, warmed up on the relabelled buffer."""
        self.agent.reset_critic()
        for batch in self.experience.warm_up():
            self.update(batch)
        self._explores = False
        # With its recordings: seeds that learn together would hold them and never use them again.
        self.__dict__.pop("update", None)

    @property
    def acts_in_numbers(self) -> bool:
        """Whether the last actions were numbers, as far as there were any."""
        return self._last_actions is None or bool(self._last_actions.isfinite().all())

    def keep_labels(self, folder: Path) -> str:
        """Write all labels to files of their own; see `pbrl.training.salvage`."""
        if isinstance(self.source, TrueReward):
            return "It has no labels."
        return keep_labels(folder, self.source.feedback, self.replay, self.step)

    def metrics(self) -> Metrics:
        """Return what a row of the log says; this waits for the device."""
        values = {name: float(value) for name, value in self._update_metrics.items()}
        return values | {
            "train/return": self.collector.recent_return,
            "train/updates": float(self.num_updates),
            "labels/asked": float(self.source.num_asked),
            "labels/given": float(self.source.num_labelled),
            **self.session_metrics,
        }

    def saved(self) -> None:
        """Note that a checkpoint holds everything so far."""
        self.source.saved()

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the episodes in progress."""
        return {
            "step": self.step,
            "num_updates": self.num_updates,
            "num_sessions": self.num_sessions,
            "session_metrics": dict(self.session_metrics),
            "explores": self._explores,
            "agent": self.agent.state_dict(),
            "source": self.source.state_dict(),
            "intrinsic": self.intrinsic.state_dict(),
            "replay": self.replay.state_dict(),
            "collector": self.collector.state_dict(),
            "generators": self.generators.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; with the next step open episodes become truncated."""
        self.step = int(state["step"])
        self.num_updates = int(state["num_updates"])
        self.num_sessions = int(state["num_sessions"])
        self.session_metrics = dict(state["session_metrics"])
        self.agent.load_state_dict(state["agent"])
        self.intrinsic.load_state_dict(state["intrinsic"])
        self.replay.load_state_dict(state["replay"])
        self.collector.load_state_dict(state["collector"])
        self.generators.load_state_dict(state["generators"])
        self.source.load_state_dict(state["source"])
        self._explores = bool(state.get("explores", not self.source.is_ready))  # older ones lack it
        self._is_cut_off = True

    def _go_on(self) -> None:
        """Leave the episodes that were in progress, and ask again what was not answered."""
        self._is_cut_off = False
        self.replay.close_open_episodes()
        self.source.ask_again(self._progress)
        self.source.saved()
