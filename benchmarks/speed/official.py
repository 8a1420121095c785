"""The official programs of CPL and IPL, run from checkouts that lie beside this one.

Both call their package `research` and import far more than an update needs: gym, simulators,
torchvision. Those are stood in for while the package is imported, and it is forgotten afterwards,
so that the two fit into one process.
"""

import importlib
import sys
import types
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from torch import nn

STOOD_IN_FOR = ("d4rl", "gdown", "imageio", "metaworld", "pandas", "seaborn", "torchvision")


class _StandIn(types.ModuleType):
    """A module with every attribute, which is a class that does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (gymnasium.Env,), {})


def stand_ins(*names: str) -> dict[str, types.ModuleType]:
    """Return modules of these names whose every attribute is a class that does nothing."""
    modules = {name: _StandIn(name) for name in names}
    for name, module in modules.items():
        parent, _, child = name.rpartition(".")
        if parent in modules:
            setattr(modules[parent], child, module)
    return dict(modules)


@contextmanager
def importable(
    folder: Path, packages: tuple[str, ...], modules: Mapping[str, types.ModuleType]
) -> Iterator[None]:
    """Make packages of a folder importable for a while, with modules that stand in for others."""
    before = dict(sys.modules)
    sys.modules.update(modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        own = [name for name in sys.modules if name.split(".")[0] in packages]
        for name in {*modules, *own}:
            sys.modules.pop(name, None)
        sys.modules.update({name: before[name] for name in {*modules, *own} if name in before})


def classes(checkout: Path, **names: str) -> types.SimpleNamespace:
    """Return attributes of modules of a checkout, such as `cpl="research.algs.cpl:CPL"`.

    Raises:
        ValueError: if the checkout is not one of these programs.
    """
    if not (checkout / "research" / "algs").is_dir():
        raise ValueError(f"{checkout} holds no folder research/algs")
    found = {}
    names_of_modules = [*STOOD_IN_FOR, "research.envs", "research.envs.base"]
    modules = stand_ins(*names_of_modules, "torchvision.transforms") | {"gym": gymnasium}
    with importable(checkout, ("research",), modules), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, target in names.items():
            module, _, attribute = target.partition(":")
            found[name] = getattr(importlib.import_module(module), attribute)
    return types.SimpleNamespace(**found)


def spaces(observation_dim: int, action_dim: int) -> tuple[gymnasium.Space, gymnasium.Space]:
    """Return the spaces of flat observations and of actions in [-1, 1]."""
    return (
        gymnasium.spaces.Box(-np.inf, np.inf, (observation_dim,), np.float32),
        gymnasium.spaces.Box(-1.0, 1.0, (action_dim,), np.float32),
    )


class Spaces(gymnasium.Env):
    """An environment that only tells its spaces."""

    def __init__(self, observation_dim: int, action_dim: int) -> None:
        self.observation_space, self.action_space = spaces(observation_dim, action_dim)


def copy_parameters(source: nn.Module, target: nn.Module) -> None:
    """Give a network of theirs the parameters of ours, layer by layer."""
    for ours, theirs in zip(source.parameters(), target.parameters(), strict=True):
        # An ensemble of one is [1, in, out] here and [out, in] there.
        value = ours.detach()
        theirs.data.copy_(
            value if value.shape == theirs.shape else value[0].T.reshape(theirs.shape)
        )
