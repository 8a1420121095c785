"""Acting with a policy that is told what return is still to come."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pbrl.agents.dtr_losses import lowered
from pbrl.agents.history import ActingHistory
from pbrl.agents.sequence_policy import SequencePolicy

NOISE = 0.1  # standard deviation, on scaled returns, in the released code of DTR

Choice = Callable[[Tensor, Tensor], Tensor]
"""Maps observations `[env, obs]` and actions `[env, candidate, act]` to actions `[env, act]`."""


class ReturnActor:
    """Asks for one or several returns at every step of many episodes, and chooses an action.

    No reward is known when acting, so that a return is spent in equal parts (DTR's rule).

    Args:
        policy: what acts.
        targets: returns to ask for in the first step, in the policy's scale.
        episode_length: steps over which they are spent.
        cached: see `ActingHistory`.
        choose: among the actions of several returns; None takes the first.
        exact: so many targets are asked for as they are, and the others with fresh noise in every
            step, which leaves no trace; needs `cached` off. None adds no noise.
        generator: source of that noise.
    """

    def __init__(
        self,
        policy: SequencePolicy,
        targets: Float[Tensor, " candidate"],
        episode_length: int,
        *,
        cached: bool = True,
        choose: Choice | None = None,
        exact: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self._history = ActingHistory(policy, cached=cached)
        self._targets = targets
        self._length = episode_length
        self._choose = choose
        self._exact = len(targets) if exact is None else exact
        self._generator = generator
        self._timestep = torch.zeros(0, dtype=torch.int64, device=targets.device)

    def begin(self, is_first: Bool[Tensor, " env"]) -> None:
        """Forget the episodes of the environments in which one begins."""
        self._history.begin(is_first.repeat_interleave(len(self._targets)))
        if len(self._timestep) != len(is_first):
            self._timestep = self._timestep.new_zeros(len(is_first))
        self._timestep = self._timestep.masked_fill(is_first.to(self._timestep.device), 0)

    def __call__(self, observations: Float[Tensor, "env obs"]) -> Float[Tensor, "env act"]:
        """Return actions in [-1, 1]."""
        if len(self._timestep) != len(observations):
            self.begin(torch.ones(len(observations), dtype=torch.bool))
        number = len(self._targets)
        left = lowered(self._targets, self._timestep, self._length)  # [env, candidate]
        repeated = observations.repeat_interleave(number, 0)
        actions = self._history.act(self._perturbed(left).view(-1, 1), repeated)
        candidates = actions.view(-1, number, actions.shape[-1])
        if self._choose is None:
            chosen = candidates[:, 0]
        else:
            chosen = self._choose(observations, candidates)
        self._history.record(chosen.repeat_interleave(number, 0), left.view(-1, 1))
        self._timestep = self._timestep + 1
        return chosen

    def _perturbed(self, left: Float[Tensor, "env candidate"]) -> Float[Tensor, "env candidate"]:
        if self._exact == len(self._targets):
            return left
        noise = torch.empty_like(left).normal_(std=NOISE, generator=self._generator)
        noise[:, : self._exact] = 0
        return left + noise
