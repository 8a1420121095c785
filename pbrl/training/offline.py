"""The offline loop: a reward first where a method needs one, then batch, update, batch, update."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from torch import Tensor

from pbrl.agents.acting import LooksAtDataset, policy_of
from pbrl.agents.protocol import OfflineAgent, phases_of
from pbrl.agents.recorded import Updates, check_recordable, make_update
from pbrl.pairs import OfflineBatch
from pbrl.randomness import Generators
from pbrl.training.evaluation import Policy
from pbrl.training.offline_batches import OfflineSampler
from pbrl.training.reward_stage import RewardStage
from pbrl.training.standardizer import Standardizer
from pbrl.training.together import RewardFit, advance

PURPOSES = (
    "agent", "transitions", "pairs", "windows", "reward", "initial", "control", "held-out",
)  # fmt: skip


class OfflineLoop:
    """Offline learning of any agent from a dataset, from preferences, or from both.

    Args:
        agent: says before every update what it learns from.
        sampler: draws it.
        generators: one per purpose, see `PURPOSES`.
        stage: learns the reward of the transitions before the agent learns; None where the rewards
            are there, or not needed.
        standardizer: what is done to observations; None leaves them.
        num_labels: preferences that are learned from.
        updates: how updates are made, see `make_update`, and the steps of a reward ensemble.

    Raises:
        ValueError: if the agent learns from what the sampler does not have, or from rewards that
            are there and do not suit it, or its updates cannot be made so.
    """

    def __init__(  # noqa: PLR0913  keyword-only
        self,
        agent: OfflineAgent,
        sampler: OfflineSampler,
        *,
        generators: Generators,
        stage: RewardStage | None = None,
        standardizer: Standardizer | None = None,
        num_labels: int = 0,
        updates: Updates = "eager",
    ) -> None:
        if updates == "graph":
            check_recordable(agent)
        self.updates: Updates = updates
        for sizes in phases_of(agent):
            sampler.check(sizes)
        self.agent = agent
        self.sampler = sampler
        self.generators = generators
        self.stage = stage
        self.standardizer = standardizer
        self.num_asked = self.num_labelled = num_labels
        self.is_asking = False
        self.step = 0
        self._is_due = False
        self._metrics: dict[str, Tensor] = {}
        if stage is None:
            self._show_dataset()

    def _show_dataset(self) -> None:
        """Let the agent look at the dataset, or refuse it."""
        if isinstance(self.agent, LooksAtDataset):
            self.agent.prepare(self.sampler.dataset.replay)

    @property
    def num_updates(self) -> int:
        """Updates of the agent."""
        return self.step

    @property
    def num_milestones(self) -> int:
        """1 once there is a learned reward, which may have taken long."""
        return int(self.stage is not None and self.stage.is_complete)

    @property
    def reward_accuracy(self) -> float | None:
        """Of the learned reward on its labels, if there is one."""
        return None if self.stage is None else self.stage.metrics.get("reward/accuracy")

    @property
    def phase(self) -> str:
        """What is being done, while it is not the agent that learns."""
        if self.stage is None or not self.is_preparing:
            return ""
        return f"learning the reward, step {self.stage.num_steps:,}/{self.stage.max_steps:,}"

    @property
    def is_preparing(self) -> bool:
        """Whether the reward is still being learned."""
        return self.stage is not None and not self.stage.is_complete

    def advance(self) -> None:
        """Learn a part of the reward while that lasts, then take one update of the agent."""
        advance(self)

    def begin(self) -> None:
        """Begin a part of the reward, or let the agent look at the dataset."""
        self._is_due = not self.is_preparing
        if self.stage is not None and self.is_preparing:
            self.stage.begin()
        elif self.stage is not None and self.step == 0:
            self._show_dataset()

    @property
    def fit(self) -> RewardFit | None:
        """The part of the reward that has begun, where its passes are left to others."""
        return None if self.stage is None else self.stage.fit

    def end(self) -> int:
        """Finish the part of the reward; 1 update is due where there was none."""
        if self.stage is not None and not self._is_due:
            self.stage.end()
        return int(self._is_due)

    def draw(self) -> OfflineBatch:
        """Return what the agent learns from next."""
        return self.sampler.draw(self.agent.batch_sizes)

    @cached_property
    def update(self) -> Callable[[OfflineBatch], dict[str, Tensor]]:
        """From a batch to the metrics of the agent's update on it."""
        return make_update(self.agent, self.updates)

    def learned(self, metrics: dict[str, Tensor]) -> None:
        """Note an update of the agent."""
        self._metrics = metrics
        self.step += 1

    @property
    def act(self) -> Policy:
        """What acts, deterministically, as the agent then is."""
        return policy_of(self.agent, self.standardizer)

    def metrics(self) -> dict[str, float]:
        """Return what a row of the log says; this waits for the device."""
        values = {name: float(value) for name, value in self._metrics.items()}
        return values | ({} if self.stage is None else self.stage.metrics)

    def saved(self) -> None:
        """Do nothing: nobody waits for a checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the data."""
        dataset = self.sampler.dataset
        state = {
            "step": self.step,
            "observation_dim": dataset.observation_dim,
            "action_dim": dataset.action_dim,
            "agent": self.agent.state_dict(),
            "generators": self.generators.state_dict(),
        }
        if self.stage is not None:
            state["stage"] = self.stage.state_dict()
        if self.standardizer is not None:
            state["standardizer"] = self.standardizer.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; learning goes on bit for bit."""
        self.step = int(state["step"])
        self.agent.load_state_dict(state["agent"])
        if self.stage is not None:
            self.stage.load_state_dict(state["stage"])
        self.generators.load_state_dict(state["generators"])
