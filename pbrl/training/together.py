"""One advance of a learning loop, or of the loops of several seeds as one computation."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from pbrl.agents.recorded import Updates
from pbrl.fit_session import FitSession
from pbrl.reward_learning import RewardLearner
from pbrl.reward_seeds import take_passes_together
from pbrl.seeds import AgentStack, progress


class RewardFit(NamedTuple):
    """A fit of a reward that a loop has begun."""

    learner: RewardLearner
    session: FitSession


@runtime_checkable
class LearningLoop(Protocol):
    """A loop cut at the places where seeds can compute together.

    An advance is: `begin`, the passes of `fit` if there is one, `end`, and then as many updates as
    that says, each of a batch that `draw` returns and `learned` is told of.
    """

    @property
    def agent(self) -> Any:
        """Who learns."""
        ...

    @property
    def step(self) -> int:
        """Steps done."""
        ...

    @property
    def is_preparing(self) -> bool:
        """Whether something else comes before the first step."""
        ...

    def begin(self) -> None:
        """Do what comes before the updates and is each seed's own."""
        ...

    @property
    def fit(self) -> RewardFit | None:
        """The fit of a reward that has begun, if one has."""
        ...

    def end(self) -> int:
        """Finish the fit, and return how many updates are due."""
        ...

    def draw(self) -> Any:
        """Return what the next update learns from."""
        ...

    @property
    def updates(self) -> Updates:
        """How updates, and the gradient steps of a reward, are made."""
        ...

    def update(self, batch: Any) -> dict[str, Tensor]:
        """Let the agent learn from a batch, and return metrics."""
        ...

    def learned(self, metrics: dict[str, Tensor]) -> None:
        """Note an update."""
        ...


Update = Callable[[Sequence[Any]], Sequence[dict[str, Tensor]]]
"""From one batch of each seed to the metrics of each."""


def advance(loop: LearningLoop) -> None:
    """Do the next piece of work of one loop."""

    def update(batches: Sequence[Any]) -> Sequence[dict[str, Tensor]]:
        return [loop.update(batches[0])]

    _advance([loop], update, loop.updates, lambda: None)


class Together:
    """The loops of several seeds, whose computations are made at once.

    Those that are furthest behind advance, so that runs which were interrupted at different places
    meet again. Each comes to what it would come to alone, within the error of floating point.

    Agents learn at once as far as they have taken equally many steps: seeds whose first sessions
    were held at different steps, as their episodes ended, have not, and learn one after the other.

    Args:
        loops: of equal make.
        updates: how updates of all are made, see `make_update` and, of rewards, `make_step`.

    Raises:
        ValueError: if their agent takes no axis of seeds, or there is none.
    """

    def __init__(self, loops: Sequence[LearningLoop], updates: Updates = "eager") -> None:
        self._loops = list(loops)
        self._updates: Updates = updates
        self._group: list[LearningLoop] = []
        self._stacks: list[tuple[list[int], AgentStack]] = []
        AgentStack([loop.agent for loop in loops[:1]])  # refuses what cannot be

    def advance(self, steps: int) -> list[LearningLoop]:
        """Do the next piece of work and return whose it was.

        Args:
            steps: of the whole run; loops that have as many rest.
        """
        group = self._behind(steps)
        if group != self._group:
            self.settle()
            self._group = group
            self._stack()
        _advance(group, self._update, self._updates, self.settle, self._stack)
        return group

    def _stack(self) -> None:
        """Stack the agents of the group, those that are equally far together."""
        rows: dict[tuple[int, ...], list[int]] = {}
        for row, loop in enumerate(self._group):
            rows.setdefault(progress(loop.agent), []).append(row)
        self._stacks = [
            (part, AgentStack([self._group[row].agent for row in part], self._updates))
            for part in rows.values()
        ]

    def _update(self, batches: Sequence[Any]) -> list[dict[str, Tensor]]:
        """Let every agent of the group learn from its batch, and return the metrics of each."""
        found: dict[int, dict[str, Tensor]] = {}
        for part, stack in self._stacks:
            found.update(zip(part, stack.update([batches[row] for row in part]), strict=True))
        return [found[row] for row in range(len(batches))]

    def _behind(self, steps: int) -> list[LearningLoop]:
        left = [loop for loop in self._loops if loop.step < steps]
        least = min(loop.step for loop in left)
        group = [loop for loop in left if loop.step == least]
        return [loop for loop in group if loop.is_preparing] or group

    def settle(self) -> None:
        """Bring every loop's agent up to date, as before a checkpoint."""
        for _, stack in self._stacks:
            stack.settle()


def _advance(
    loops: Sequence[LearningLoop],
    update: Update,
    updates: Updates,
    before_fits: Callable[[], None],
    after_fits: Callable[[], None] = lambda: None,
) -> None:
    for loop in loops:
        loop.begin()
    fits = [fit for fit in (loop.fit for loop in loops) if fit is not None]
    if fits:
        before_fits()
        take_passes_together([fit.learner for fit in fits], [fit.session for fit in fits], updates)
    due = {loop.end() for loop in loops}
    if fits:
        after_fits()  # the end of a session may have changed an agent by itself
    if len(due) > 1:
        raise RuntimeError(f"seeds at one step must have as many updates due, got {sorted(due)}")
    for _ in range(due.pop()):
        metrics = update([loop.draw() for loop in loops])
        for loop, own in zip(loops, metrics, strict=True):
            loop.learned(own)
