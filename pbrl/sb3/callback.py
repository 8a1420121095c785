"""The callback that holds query sessions while an algorithm of stable-baselines3 learns."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import unwrap_vec_wrapper
from torch import Tensor

from pbrl.intrinsic import IntrinsicReward
from pbrl.queries.teachers import Teacher
from pbrl.randomness import Generators
from pbrl.replay import Batch
from pbrl.replay_rules import ReplayRuleConfig
from pbrl.sb3.preference_vec_env import PreferenceVecEnv
from pbrl.sb3.replay_buffer import RelabellingReplayBuffer
from pbrl.training.batches import draw_batch
from pbrl.training.build import build_preference_reward
from pbrl.training.checkpoint import load_checkpoint, save_checkpoint
from pbrl.training.config import PreferenceConfig
from pbrl.training.files import plain
from pbrl.training.reward_source import Metrics

PURPOSES = ("replay", "queries", "teacher", "reward", "initial")


class FeedbackCallback(BaseCallback):
    """Learns a reward from a teacher's answers, for the algorithm it is passed to.

    Sessions are held between two rollouts, so that an on-policy algorithm never learns from a
    rollout with two rewards; sessions that fall into one rollout are held together after it. A step
    is one step of one environment, counted over all calls of `learn`.

    Until the first session the algorithm gets zeros or, with `explores=True`, the intrinsic reward
    of PEBBLE (Lee et al. 2021). As in PEBBLE, an off-policy algorithm that has explored gets a
    fresh critic at the first session, warmed up on the relabelled buffer; one without an attribute
    `critic` (DQN) keeps what it has. Exploration suits SAC. A deterministic actor (TD3, DDPG) runs
    into the limits of its actions meanwhile and hardly comes back: let it act at random instead,
    with `learning_starts` at the first session.

    Args:
        env: what the algorithm trains on, perhaps wrapped in more.
        config: everything between a query and the learned reward.
        teacher: answers instead of the configured simulated teacher.
        seed: of queries, reward model and replay; the algorithm has a seed of its own.
        explores: whether the algorithm learns from the intrinsic reward before the first session.
        replay_rule: which transitions an off-policy update sees while the budget lasts.
        folder: saved to after each session, so that no label is lost; None saves nothing.

    Attributes:
        source: the reward model, its feedback and the sessions.
    """

    def __init__(
        self,
        env: PreferenceVecEnv,
        config: PreferenceConfig,
        *,
        teacher: Teacher | None = None,
        seed: int = 0,
        explores: bool = False,
        replay_rule: ReplayRuleConfig | None = None,
        folder: Path | str | None = None,
    ) -> None:
        super().__init__()
        self.env = env
        self.config = config
        self.explores = explores
        self.replay_rule = replay_rule or ReplayRuleConfig()
        self.folder = folder
        self.intrinsic = IntrinsicReward(config.intrinsic)
        self.generators = Generators(seed, PURPOSES, env.replay.device)
        self.source = build_preference_reward(
            config,
            env.replay,
            dimensions=(env.observation_dim, env.action_dim),
            generators=self.generators,
            teacher=teacher,
        )
        self._step = 0
        self._is_exploring = explores  # until the critic is made anew
        self._session_metrics: Metrics = {}

    def _init_callback(self) -> None:
        """Connect the model.

        Raises:
            ValueError: if it trains on another environment, or learns from stored rewards that
                nobody would relabel.
        """
        if unwrap_vec_wrapper(self.training_env, PreferenceVecEnv) is not self.env:
            raise ValueError("the model must train on the environment given to FeedbackCallback")
        self.env.step_rewards = self.step_rewards
        if not isinstance(self.model, OffPolicyAlgorithm):
            return
        buffer = self.model.replay_buffer
        if not isinstance(buffer, RelabellingReplayBuffer):
            raise ValueError(
                f"{type(self.model).__name__} must be made with "
                f"replay_buffer_class=RelabellingReplayBuffer, got {type(buffer).__name__}"
            )
        buffer.bind(self.env.replay, self.env.capacity, self._draw_batch)

    def _on_rollout_start(self) -> None:
        step = self.env.replay.num_steps_added
        self._hold_session(step)
        while self.source.waits_for(step):
            self.source.wait()
            self._hold_session(step)
        for name, value in self._metrics().items():
            self.logger.record(name, value)

    def _hold_session(self, step: int) -> None:
        metrics = self.source.hold_session(step, step - self._step, self.env.progress)
        self._step = step
        if self._is_exploring and self.source.is_ready:  # also by answers that came with `load`
            self._is_exploring = False
            self._renew_critic()
        if metrics is not None:
            self._session_metrics = metrics
            if self.folder is not None:
                self.save(self.folder)
            self.source.saved()  # without a folder nothing can be resumed, and nothing waits for it

    def _on_step(self) -> bool:
        return True

    def _metrics(self) -> Metrics:
        return {
            "labels/asked": float(self.source.num_asked),
            "labels/given": float(self.source.num_labelled),
            "rollout/true_return": self.env.progress.recent_return,
            **self._session_metrics,
        }

    def step_rewards(
        self,
        observations: Float[Tensor, "env obs"],
        actions: Float[Tensor, "env act"],
        true_rewards: Float[Tensor, " env"],
    ) -> Float[Tensor, " env"]:
        """Return the rewards of new steps, intrinsic ones where nothing can be drawn again."""
        is_exploring = self.explores and not self.source.is_ready
        if is_exploring and not isinstance(self.model, OffPolicyAlgorithm):
            states = torch.cat([self.env.replay.all_observations(), observations])
            if len(states) > self.config.intrinsic.neighbour:
                rewards: Tensor = self.intrinsic(observations, states)
                return rewards
        return self.source.step_rewards(observations, actions, true_rewards)

    def _draw_batch(self, batch_size: int) -> Batch:
        replay, generator = self.env.replay, self.generators["replay"]
        if not self.explores and not self.source.is_ready:
            return replay.sample(batch_size, generator)
        return draw_batch(
            replay,
            batch_size,
            source=self.source,
            rule=self.replay_rule,
            intrinsic=self.intrinsic,
            generator=generator,
        )

    def _renew_critic(self) -> None:
        """Leave exploration: values of intrinsic rewards say nothing about learned ones."""
        model = self.model
        critic, target = (getattr(model, name, None) for name in ("critic", "critic_target"))
        if not isinstance(model, OffPolicyAlgorithm) or critic is None or target is None:
            return
        for module in critic.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        target.load_state_dict(critic.state_dict())
        critic.optimizer.state.clear()
        model.train(gradient_steps=self.config.warm_up_updates, batch_size=model.batch_size)

    def save(self, folder: Path | str) -> None:
        """Write steps, feedback and reward model; the model's own `save` writes the rest.

        The folder keeps the last two such states and never half of one; nothing is pickled.

        Raises:
            OSError: if it cannot be written; what was saved before is intact.
        """
        state = {
            "env": self.env.state_dict(),
            "source": self.source.state_dict(),
            "intrinsic": self.intrinsic.state_dict(),
            "generators": self.generators.state_dict(),
            "session_metrics": dict(self._session_metrics),
        }
        save_checkpoint(Path(folder), state, step=self._step, fingerprint=self._fingerprint())

    def load(self, folder: Path | str) -> None:
        """Go on from what `save` wrote last; queries without an answer are asked again.

        Raises:
            FileNotFoundError: if nothing was saved there.
            ValueError: if it was saved with another reward model or environment, or is damaged.
        """
        state, self._step = load_checkpoint(Path(folder), self._fingerprint())
        self.env.load_state_dict(state["env"])
        self.source.load_state_dict(state["source"])
        self.intrinsic.load_state_dict(state["intrinsic"])
        self.generators.load_state_dict(state["generators"])
        self._session_metrics = dict(state["session_metrics"])
        self._is_exploring = self.explores and not self.source.is_ready
        self.source.ask_again(self.env.progress)
        self.source.saved()

    def _fingerprint(self) -> dict[str, Any]:
        return {
            "reward": plain(self.config.reward),
            "observation_space": str(self.env.observation_space),
            "action_space": str(self.env.action_space),
            "num_envs": self.env.num_envs,
        }
