"""Codes that a reward sees states and actions through, learned from all steps without a label."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pbrl.checks import check_fields
from pbrl.replay import ReplayBuffer
from pbrl.state_codes import StateCodes, StateCodesConfig


@dataclass(frozen=True, kw_only=True)
class RewardCodesConfig:
    """TACO's codes in front of a reward ensemble; sizes and numbers are ours.

    Attributes:
        codes: encoders and objective. The reward's own gradient does not train them.
        batch_size: windows per update.
        initial_updates: before the first labels are learned from, on what exploration brought.
        session_updates: before each later session in which the replay buffer has grown.
    """

    codes: StateCodesConfig = field(default_factory=StateCodesConfig)
    batch_size: int = 256
    initial_updates: int = 1_000
    session_updates: int = 200

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("batch_size", "at least 2", self.batch_size >= 2),  # noqa: PLR2004  one negative
            ("initial_updates", "0 or above", self.initial_updates >= 0),
            ("session_updates", "0 or above", self.session_updates >= 0),
        )


class RewardCodesLearner:
    """Trains codes on the steps of a replay buffer.

    Args:
        config: how.
        codes: what is trained.
        generator: gives the seed of the stream that batches are drawn from, so that none of the
            reward's numbers are taken.
    """

    def __init__(
        self, config: RewardCodesConfig, codes: StateCodes, *, generator: torch.Generator
    ) -> None:
        self.config = config
        self.codes = codes
        seed = torch.randint(2**31, (), generator=generator, device=generator.device)
        self._draws = torch.Generator(generator.device).manual_seed(int(seed))
        self.num_updates = 0
        self.steps_seen = 0

    def fit(self, replay: ReplayBuffer, view: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Take the updates that are due and return what they came to.

        Args:
            replay: of any steps; no label is needed.
            view: what the codes are made of, given observations.

        Returns:
            codes/loss, the mean over these updates, and codes/updates so far; nothing if none is
            due.
        """
        due = self._num_due(replay)
        if due == 0:
            return {}
        total = torch.zeros((), device=replay.device)
        for _ in range(due):
            batch = replay.sample(self.config.batch_size, self._draws, steps=self.codes.batch_steps)
            total += self.codes.learn(batch.seen_through(view))["codes_loss"]
        self.num_updates += due
        return {"codes/loss": float(total) / due, "codes/updates": float(self.num_updates)}

    def _num_due(self, replay: ReplayBuffer) -> int:
        if replay.num_steps_added <= self.steps_seen:
            return 0
        is_new = self.steps_seen == 0
        self.steps_seen = replay.num_steps_added
        return self.config.initial_updates if is_new else self.config.session_updates

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser, how far it is, and its stream; the codes are saved elsewhere."""
        return {
            "optimizer": self.codes.optimizer.state_dict(),
            "num_updates": self.num_updates,
            "steps_seen": self.steps_seen,
            "generator": self._draws.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        # torch keeps the tensors of a loaded state and would write into the giver's.
        self.codes.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.num_updates = int(state["num_updates"])
        self.steps_seen = int(state["steps_seen"])
        self._draws.set_state(state["generator"].cpu().to(torch.uint8))
