"""What a CUDA graph does, on the CPU: operations with the memory they work on, run again."""

from contextlib import contextmanager

import torch
from torch._C import TensorBase
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
# What a program waits for on a GPU: numbers that go to Python, results whose size depends on
# numbers, and numbers that come from Python.
WAITING = {
    aten._local_scalar_dense,
    aten.equal,
    aten.is_nonzero,
    aten.nonzero,
    aten.masked_select,
    aten.unique_dim,
    aten._unique2,
    aten.unique_consecutive,
}
MASKED = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
READ = ("item", "tolist", "numpy", "cpu", "__array__", "__bool__", "__float__", "__int__")
MADE = ("tensor", "as_tensor", "from_numpy")


class Waits(AssertionError):
    """An update waited for the device."""


class _Watch(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        packet = function.overloadpacket
        is_masked = packet in MASKED and any(
            one.dtype in (torch.bool, torch.uint8)
            for one in tree_leaves(args[1])
            if isinstance(one, torch.Tensor)
        )
        if packet in WAITING or is_masked:
            raise Waits(str(function))
        return function(*args, **(kwargs or {}))


@contextmanager
def never_waiting(monkeypatch):
    """Refuse what would make a program wait for a GPU, while everything is on the CPU."""
    with monkeypatch.context() as patch, _Watch():
        for name in READ:
            patch.setattr(torch.Tensor, name, _refuse(name))
        for name in MADE:
            patch.setattr(torch, name, _refuse(name))
        patch.setattr(torch.Tensor, "__setitem__", _set_item)
        yield


def _set_item(tensor, index, value):
    """Refuse numbers of Python at places that tensors tell: they are copied from the host."""
    parts = index if isinstance(index, tuple) else (index,)
    if not isinstance(value, torch.Tensor) and any(
        isinstance(part, (torch.Tensor, list)) for part in parts
    ):
        raise Waits("__setitem__")
    TensorBase.__setitem__(tensor, index, value)


def _refuse(name):
    def refuse(*_, **__):
        raise Waits(name)

    return refuse


class Tape(TorchDispatchMode):
    """Notes the operations of a function; `play` runs them again on the same memory.

    Unlike a CUDA graph it makes them while it notes them, so that the first `play` does nothing.
    """

    def __init__(self):
        super().__init__()
        self.operations = []
        self.is_made = True

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        results = function(*args, **kwargs)
        self.operations.append((function, args, kwargs, results))
        return results

    @torch.no_grad()
    def play(self):
        """Run the operations; what they return is written where it lay before."""
        if self.is_made:
            self.is_made = False
            return
        for function, args, kwargs, results in self.operations:
            again = function(*tree_map(_memory, args), **tree_map(_memory, kwargs))
            for old, new in zip(tree_leaves(results), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.detach().copy_(new)


def _memory(value):
    """Return a tensor without what autograd has made of it since, which forbids to resize it."""
    return value.detach() if isinstance(value, torch.Tensor) and value.requires_grad else value


class TapeRecorder:
    """What `GraphRecorder` is for a GPU."""

    def warm_up(self, run):
        """Call a function."""
        return run()

    def record(self, run, generators):
        """Return how to do what a function does, and its results."""
        assert all(isinstance(one, torch.Generator) for one in generators)
        tape = Tape()
        with tape:
            results = run()
        return tape.play, results
