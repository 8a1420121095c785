"""Several seeds of one method as one computation: every parameter gets a leading axis of seeds.

The networks of preference-based learning are so small that a GPU waits for Python, and sixteen
seeds cost it little more than one. Whatever learns keeps its code: its tensors, batches, losses and
generators have one more axis in front, along which the seeds share nothing, so that each comes to
what it would come to alone, within the error of floating point.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pbrl.agents.policies import Policy
from pbrl.agents.recorded import Updates, make_update
from pbrl.agents.state import AgentOfParts
from pbrl.agents.tanh_gaussian import TanhGaussian
from pbrl.dropout import Dropout
from pbrl.networks import EnsembleLinear, EnsembleMLP, Linear
from pbrl.randomness import SeedGenerators
from pbrl.rewards import RewardEnsemble
from pbrl.running_moments import RunningMoments

# What takes an axis of seeds in front; everything else would mistake it for a batch.
TAKE_SEEDS = (
    *(Linear, EnsembleLinear, EnsembleMLP, nn.Sequential, Dropout, RunningMoments),
    *(nn.ReLU, nn.LeakyReLU, nn.Mish, nn.Tanh, nn.Sigmoid, nn.Identity),
    *(Policy, TanhGaussian, RewardEnsemble),
)
STEP = "step"  # of Adam, which all seeds share

LearnerT = TypeVar("LearnerT")


class SeedStack(Generic[LearnerT]):
    """Learners of equal make, one for each seed, whose tensors are slices of stacked ones.

    The members stay what they are: they act, are evaluated and stored as if they had learned alone.
    After updates of the stack `settle` brings their optimisers and counters up to date.

    Args:
        members: of equal configuration, as far along as each other.

    Attributes:
        members: as given.
        whole: the learner whose tensors have the axis of seeds in front.

    Raises:
        ValueError: if members differ in make or in how far they are, or consist of what takes no
            axis of seeds.
    """

    def __init__(self, members: Sequence[LearnerT]) -> None:
        if not members:
            raise ValueError("a stack needs at least one member")
        self.members = list(members)
        _check(members[0])
        self.whole: LearnerT
        self.stack()

    def stack(self) -> None:
        """Make the whole anew from the members, as after one of them has changed by itself."""
        first = self.members[0]
        memo: dict[int, Any] = {}
        for group in zip(*map(_tensors, self.members), strict=True):
            memo[id(group[0])] = _joined(group)
        for states in zip(*map(_optimizer_states, self.members), strict=True):
            if any(state.keys() != states[0].keys() for state in states):
                raise ValueError("seeds that train together must all have learned, or none of them")
            for name, value in states[0].items():
                memo[id(value)] = _joined_state(name, [state[name] for state in states])
        for generators in zip(*map(_generators, self.members), strict=True):
            memo[id(generators[0])] = SeedGenerators(generators)
        self.whole = copy.deepcopy(first, memo)
        for row, member in enumerate(self.members):
            for own, stacked in zip(_tensors(member), _tensors(self.whole), strict=True):
                own.data = stacked.data[row]

    def settle(self) -> None:
        """Bring the members' optimisers and counters up to date; their parameters always are."""
        rows = range(len(self.members))
        for row, member in zip(rows, self.members, strict=True):
            both = zip(_optimizers(member), _optimizers(self.whole), strict=True)
            for own, stacked in both:
                _settle_optimizer(own, stacked, row)


class AgentStack(SeedStack[AgentOfParts[Any]]):
    """Agents that are updated at once, each from a batch of its own; see `SeedStack`.

    A member that shall learn by itself in between must be settled before.

    Args:
        members: see `SeedStack`.
        updates: how updates of all are made, see `make_update`.

    Raises:
        ValueError: if an agent's updates do not allow for an axis of seeds; see `SeedStack` too.
    """

    def __init__(self, members: Sequence[AgentOfParts[Any]], updates: Updates = "eager") -> None:
        for member in members:
            check_takes_seeds(type(member))
        self._updates = updates
        super().__init__(members)

    def stack(self) -> None:
        """Make the whole anew from the members, as after one of them has changed by itself."""
        super().stack()
        self._learn = make_update(self.whole, self._updates)

    def update(self, batches: Sequence[Any]) -> list[dict[str, Tensor]]:
        """Let every member learn from its batch, and return the metrics of each.

        A member that has learned by itself since the last update is found by its counter.

        Args:
            batches: one for each member, of equal kind and size.
        """
        if any(member.num_updates != self.whole.num_updates for member in self.members):
            self.stack()
        metrics = self._learn(joined_batches(batches))
        for member in self.members:
            member.num_updates = self.whole.num_updates
        return self._split(metrics)

    def _split(self, metrics: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """Return the metrics of each member out of those of the whole."""
        parts = {name: value.unbind() for name, value in metrics.items()}
        rows = range(len(self.members))
        return [{name: values[row] for name, values in parts.items()} for row in rows]


def progress(agent: AgentOfParts[Any]) -> tuple[int, ...]:
    """Return what agents must agree in to be stacked: the updates, and steps of each optimiser."""
    steps = (int(state.get(STEP, 0)) for state in _optimizer_states(agent))
    return (agent.num_updates, *steps)


def joined_batches(batches: Sequence[Any]) -> Any:
    """Return dataclasses of tensors as one, whose tensors have an axis of seeds in front.

    They may be nested and have parts that are None. Segments of unequal length are padded at their
    end, as within a batch.

    Raises:
        ValueError: if a part is there for some seeds only.
    """
    first = batches[0]
    if isinstance(first, Tensor):
        return _padded_stack(batches)
    if first is None or any(batch is None for batch in batches):
        if any(batch is not None for batch in batches):
            raise ValueError("batches of several seeds must have the same parts")
        return None
    changes = {
        field.name: joined_batches([getattr(batch, field.name) for batch in batches])
        for field in fields(first)
    }
    return replace(first, **changes)


def _padded_stack(tensors: Sequence[Tensor]) -> Tensor:
    shapes = {tensor.shape for tensor in tensors}
    if len(shapes) > 1:
        largest = [max(sizes) for sizes in zip(*shapes, strict=True)]
        tensors = [_padded(tensor, largest) for tensor in tensors]
    return torch.stack(list(tensors))


def _padded(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    missing = [wanted - size for wanted, size in zip(shape, tensor.shape, strict=True)]
    return F.pad(tensor, [number for size in reversed(missing) for number in (0, size)])


def check_takes_seeds(agent: type[Any]) -> None:
    """Refuse a class of agents whose updates do not allow for an axis of seeds.

    Raises:
        ValueError: naming it.
    """
    if not getattr(agent, "takes_seeds", False):
        raise ValueError(
            f"{agent.__name__} takes no axis of seeds: train its seeds one by one, with --seed"
        )


def _check(member: Any) -> None:
    parts = [part for module in _modules(member) for part in module.modules()]
    for part in parts:
        if not isinstance(part, TAKE_SEEDS):
            check_takes_seeds(type(part))


def _joined(group: Sequence[Tensor]) -> Tensor:
    """Return the stacked tensor of all seeds, a parameter if the single ones are."""
    shapes = {tuple(tensor.shape) for tensor in group}
    if len(shapes) > 1:
        raise ValueError(f"seeds that train together must be of one make, got shapes {shapes}")
    first = group[0]
    stacked = torch.stack([tensor.detach() for tensor in group])
    if isinstance(first, nn.Parameter):
        return nn.Parameter(stacked, requires_grad=first.requires_grad)
    return stacked


def _joined_state(name: str, values: Sequence[Tensor]) -> Tensor:
    if name != STEP:
        return torch.stack(list(values))
    steps = {float(value) for value in values}
    if len(steps) > 1:
        raise ValueError(
            f"seeds that train together must have taken as many steps, got {sorted(steps)}"
        )
    return values[0].clone()


def _settle_optimizer(own: torch.optim.Optimizer, stacked: torch.optim.Optimizer, row: int) -> None:
    """Give a member's optimiser its slices of the state, and the settings."""
    own.state.clear()
    for group, of_stack in zip(own.param_groups, stacked.param_groups, strict=True):
        group.update({name: value for name, value in of_stack.items() if name != "params"})
        for parameter, other in zip(group["params"], of_stack["params"], strict=True):
            if other in stacked.state:
                own.state[parameter] = {
                    name: value.clone() if name == STEP else value[row]
                    for name, value in stacked.state[other].items()
                }


def _tensors(thing: Any) -> list[Tensor]:
    """Return parameters, buffers and other tensors of a learner, each once and in order."""
    found: dict[int, Tensor] = {}
    for value in _leaves(thing):
        if isinstance(value, Tensor):
            found.setdefault(id(value), value)
        elif isinstance(value, nn.Module):
            for tensor in (*value.parameters(), *value.buffers()):
                found.setdefault(id(tensor), tensor)
    return list(found.values())


def _modules(thing: Any) -> list[nn.Module]:
    return [value for value in _leaves(thing) if isinstance(value, nn.Module)]


def _optimizers(thing: Any) -> list[torch.optim.Optimizer]:
    return [value for value in _leaves(thing) if isinstance(value, torch.optim.Optimizer)]


def _optimizer_states(thing: Any) -> list[dict[str, Tensor]]:
    """Return the state of each parameter, in the order of the groups; empty before any step."""
    return [
        optimizer.state.get(parameter, {})
        for optimizer in _optimizers(thing)
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]


def _generators(thing: Any) -> list[torch.Generator]:
    return [value for value in _leaves(thing) if isinstance(value, torch.Generator)]


def _leaves(thing: Any) -> Iterator[Any]:
    """Yield what a learner has as attributes, and what learners within it have."""
    for value in vars(thing).values():
        yield value
        if isinstance(value, AgentOfParts):
            yield from _leaves(value)
