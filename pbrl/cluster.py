"""A Ray cluster: connecting to it, and refusing nodes that would not compute the same.

Ray is loaded on use alone; it is in the extra `ray`.
"""

import hashlib
import importlib
import importlib.util
import inspect
import logging
import platform
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

AUTO = "auto"
CLIENT = "ray://"
CONNECT_SECONDS = 10.0
CHECK_SECONDS = 120.0  # a node that starts its first worker imports for a while
_ALWAYS = ("pbrl", "ray")
_START = "`ray start --head --port 6379`, and on the others `ray start --address HOST:6379`"


class NodeFault(ValueError):
    """Nodes of a cluster cannot do what they are there for."""


@dataclass(frozen=True)
class Node:
    """A node of a cluster.

    Attributes:
        id: that Ray gave it.
        name: address and beginning of the id, for people.
        resources: that it has in all, such as `CPU` and `GPU`.
    """

    id: str
    name: str
    resources: Mapping[str, float]

    def num_places(self, cpus: float, gpus: float) -> int:
        """Return how many pieces of work fit on it at once that need so much each."""
        needed = {"CPU": cpus, "GPU": gpus}
        return int(
            min(self.resources.get(name, 0.0) / n + 1e-9 for name, n in needed.items() if n > 0)
        )


class Cluster:
    """A connection to a running Ray cluster.

    Args:
        address: `HOST:PORT` of its head, from one of its nodes; `ray://HOST:10001` from anywhere;
            "auto" for the one that this machine belongs to, or that RAY_ADDRESS names.

    Raises:
        ImportError: if Ray is not installed.
        ConnectionError: if no cluster answers, saying how to start one.
        NodeFault: if it runs another version of Ray or Python.
    """

    def __init__(self, address: str = AUTO) -> None:
        self.ray = load_ray()
        self.address = address
        self._is_ours = not self.ray.is_initialized()
        if self._is_ours:
            _knock(address)
            try:
                self.ray.init(
                    address=address,
                    namespace="pbrl",
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            except (ConnectionError, ValueError, TimeoutError) as error:
                raise _unreachable(address, str(error)) from error
            except RuntimeError as error:
                if "version mismatch" not in str(error).lower():
                    raise
                raise NodeFault(
                    f"the Ray cluster at {address} runs other versions than this program: install "
                    "the same versions of Ray and Python on every machine, best from one "
                    f"constraints.txt, and start Ray again\n{str(error).strip()}"
                ) from error

    def nodes(self) -> list[Node]:
        """Return the nodes that are alive."""
        return [
            Node(
                node["NodeID"],
                f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})",
                node["Resources"],
            )
            for node in self.ray.nodes()
            if node["Alive"]
        ]

    def ask(
        self, nodes: Sequence[Node], function: Callable[..., Any], *arguments: Any
    ) -> list[Any]:
        """Return what a function returns on each node; an exception takes the place of an answer.

        It takes no CPU from what runs there.
        """
        strategy = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        # Without what wraps it here, such as a check of types, which cannot travel.
        remote = self.ray.remote(num_cpus=0, max_retries=0)(inspect.unwrap(function))
        answers = [
            remote.options(scheduling_strategy=strategy(node.id, soft=False)).remote(*arguments)
            for node in nodes
        ]
        return [self._answer(answer) for answer in answers]

    def _answer(self, answer: Any) -> Any:
        try:
            return self.ray.get(answer, timeout=CHECK_SECONDS)
        except self.ray.exceptions.RayError as error:
            return error

    def check_nodes(
        self, nodes: Sequence[Node], *, packages: Sequence[str] = (), imports: str = "pbrl"
    ) -> None:
        """Refuse nodes that cannot import this package or have other versions of what is used.

        Args:
            nodes: that should do the same as this program.
            packages: whose versions must be those of this program, beside this one, Python and Ray.
            imports: module that each node must be able to import.

        Raises:
            NodeFault: naming the nodes, what is wrong with each and what to do.
        """
        names = tuple(dict.fromkeys((*_ALWAYS, *packages)))
        look = _look_around()
        here = look(names, "pbrl")
        faults = []
        for node, there in zip(nodes, self.ask(nodes, look, names, imports), strict=True):
            fault = _fault(here, there, imports)
            if fault:
                faults.append(f"node {node.name} {fault}")
        if faults:
            raise NodeFault("\n".join(faults))

    def close(self) -> None:
        """End what this program runs there and leave."""
        if self._is_ours:
            self.ray.shutdown()


def load_ray() -> Any:
    """Return the module Ray.

    Raises:
        ImportError: naming the extra to install.
    """
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.util.scheduling_strategies")
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ImportError("the package ray is not installed: pip install 'pbrl[ray]'") from None
    return ray


def _knock(address: str) -> None:
    """Refuse an address where nothing listens; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix(CLIENT).rpartition(":")
    if not colon and address == AUTO:
        return
    if not (colon and host and port.isdecimal()):
        raise ValueError(f"address must be auto, HOST:PORT or ray://HOST:PORT, got {address!r}")
    try:
        with closing(socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS)):
            pass
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from error


def _unreachable(address: str, reason: str) -> ConnectionError:
    return ConnectionError(
        f"no Ray cluster answers at {address}: {reason}\n"
        f"Start one with {_START}, and run this program on one of these machines, or from "
        "elsewhere with the address ray://HOST:10001."
    )


def _look_around() -> Callable[[tuple[str, ...], str], dict[str, Any]]:
    """Return a function that is sent whole to a node, which may not have this package."""

    def look(packages: tuple[str, ...], imports: str) -> dict[str, Any]:
        versions = {"python": platform.python_version()}
        for package in packages:
            try:
                versions[package] = metadata.version(package).partition("+")[0]
            except metadata.PackageNotFoundError:
                versions[package] = "not installed"
        found: dict[str, Any] = {"versions": versions, "error": None, "code": ""}
        try:
            importlib.import_module(imports)
            spec = importlib.util.find_spec("pbrl")
            assert spec is not None
            assert spec.origin is not None
            folder = Path(spec.origin).parent
            digest = hashlib.sha256()
            for path in sorted(folder.rglob("*.py")):
                digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
            found["code"] = digest.hexdigest()
        except Exception as error:  # noqa: BLE001  a broken installation can raise anything
            found["error"] = f"{type(error).__name__}: {error}"
        return found

    return look


def _fault(here: Mapping[str, Any], there: Any, imports: str) -> str:
    """Return what is wrong with a node and how to put it right, or nothing."""
    if isinstance(there, Exception):
        return f"does not answer: {str(there).strip().splitlines()[0]}"
    install = f"pip install pbrl=={here['versions']['pbrl']}"
    differing = [
        f"{name} {there['versions'][name]} (here {version})"
        for name, version in here["versions"].items()
        if there["versions"][name] != version
    ]
    if there["error"]:
        lacking = f"; it has {', '.join(differing)}" if differing else ""
        return (
            f"cannot import {imports} ({there['error']}){lacking}: run `{install}` there, in the "
            "environment in which Ray was started, and start Ray again"
        )
    if differing:
        return (
            f"has {', '.join(differing)}: install the same versions on every node, best from one "
            "constraints.txt, and start Ray again"
        )
    if there["code"] != here["code"]:
        return (
            f"has other code of pbrl {here['versions']['pbrl']} than this program: bring both to "
            "the same commit"
        )
    return ""
