"""Acting with a policy that is told a code of behaviour."""

from jaxtyping import Bool, Float
from torch import Tensor

from pbrl.agents.history import ActingHistory
from pbrl.agents.sequence_policy import SequencePolicy


class ContextActor:
    """Acts by one context, many episodes at once.

    Args:
        policy: what acts.
        context: what it is told.
        cached: see `ActingHistory`.
        newest_only: tell it at the newest step alone.
    """

    def __init__(
        self,
        policy: SequencePolicy,
        context: Float[Tensor, " context"],
        *,
        cached: bool = True,
        newest_only: bool = False,
    ) -> None:
        self._context = context
        self._history = ActingHistory(policy, cached=cached, newest_condition_only=newest_only)

    def begin(self, is_first: Bool[Tensor, " env"]) -> None:
        """Forget the episodes of the environments in which one begins."""
        self._history.begin(is_first)

    def __call__(self, observations: Float[Tensor, "env obs"]) -> Float[Tensor, "env act"]:
        """Return actions in [-1, 1]."""
        contexts = self._context.expand(len(observations), -1)
        actions = self._history.act(contexts, observations)
        self._history.record(actions)
        return actions
