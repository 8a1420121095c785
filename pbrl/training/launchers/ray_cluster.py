"""Runs on the nodes of a Ray cluster."""

import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pbrl.cluster import AUTO, Cluster, Node, NodeFault
from pbrl.training.launchers.local import check_gpus_per_run
from pbrl.training.launchers.on_node import RunOnNode, look_for
from pbrl.training.launchers.protocol import Ending, Job, Launched
from pbrl.training.machine import PACKAGES

_CALLS_AT_ONCE = 3  # run, progress, ask_to_stop
_EVERY_RUN = "pbrl.training.run"  # what a run imports


class RayLauncher:
    """Spreads runs over a Ray cluster; each takes CPUs and GPUs of one node.

    Nodes that come later are used as well. Run folders lie at the same path on every node: where
    it is one shared folder, a run goes on from its checkpoint on any node; elsewhere it begins anew
    when its node is lost.

    Args:
        address: see `pbrl.cluster.Cluster`.
        cpus_per_run: that a run takes.
        gpus_per_run: a fraction that several runs share, or a whole number.
        workers: most runs at once; None for as many as fit.
        report: gets a line for what is worth knowing about the cluster.

    Raises:
        ImportError: if Ray is not installed.
        ConnectionError: if no cluster answers.
        ValueError: if a number is impossible.
    """

    def __init__(
        self,
        address: str = AUTO,
        *,
        cpus_per_run: float = 1.0,
        gpus_per_run: float = 0.0,
        workers: int | None = None,
        report: Callable[[str], None],
    ) -> None:
        if cpus_per_run <= 0:
            raise ValueError(f"cpus_per_run must be positive, got {cpus_per_run:g}")
        check_gpus_per_run(gpus_per_run)
        if workers is not None and workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self.cpus_per_run = cpus_per_run
        self.gpus_per_run = gpus_per_run
        self.workers = workers
        self.is_shared = False
        self._report = report
        self._cluster = Cluster(address)
        self._actor = self._cluster.ray.remote(
            num_cpus=cpus_per_run,
            num_gpus=gpus_per_run,
            max_concurrency=_CALLS_AT_ONCE,
            max_restarts=0,
            scheduling_strategy="SPREAD",
        )(RunOnNode)

    def check(self, jobs: Sequence[Job]) -> None:
        """Refuse a cluster on which these runs could not run, or not all alike.

        Raises:
            NodeFault: naming the nodes, what is wrong with each and what to do.
        """
        if not jobs:
            return
        nodes = [node for node in self._cluster.nodes() if self._places(node)]
        if not nodes:
            raise NodeFault(self._too_small())
        imports = _EVERY_RUN if any(job.command is None for job in jobs) else "pbrl"
        self._cluster.check_nodes(nodes, packages=PACKAGES, imports=imports)
        self._check_files(nodes, jobs)

    def _places(self, node: Node) -> int:
        return node.num_places(self.cpus_per_run, self.gpus_per_run)

    def _too_small(self) -> str:
        nodes = self._cluster.nodes()
        if self.gpus_per_run and not any(node.resources.get("GPU") for node in nodes):
            return (
                f"gpus_per_run is {self.gpus_per_run:g} and no node of the cluster has a GPU: "
                "leave it out, or start nodes with `ray start --num-gpus N`"
            )
        sizes = ", ".join(
            f"{node.name} has {node.resources.get('CPU', 0):g} CPUs and "
            f"{node.resources.get('GPU', 0):g} GPUs"
            for node in nodes
        )
        return (
            f"a run takes {self.cpus_per_run:g} CPUs and {self.gpus_per_run:g} GPUs of one node, "
            f"and no node has them ({sizes}): lower cpus_per_run or gpus_per_run"
        )

    def _check_files(self, nodes: Sequence[Node], jobs: Sequence[Job]) -> None:
        """Refuse nodes that lack data, and find out whether the run folders are shared."""
        folder, directory = jobs[0].folder.parent, jobs[0].directory
        data = sorted({path for job in jobs for path in job.data})
        folder.mkdir(parents=True, exist_ok=True)
        mark = folder / f".shared-{uuid.uuid4().hex}"
        mark.touch()
        try:
            answers = self._cluster.ask(nodes, look_for, mark, data, directory)
        finally:
            mark.unlink()
        faults, alone = [], []
        for node, answer in zip(nodes, answers, strict=True):
            if isinstance(answer, Exception):
                faults.append(f"node {node.name} does not answer: {answer}")
                continue
            sees_mark, lacking = answer
            if lacking:
                faults.append(
                    f"node {node.name} does not have {', '.join(lacking)} (from {directory}): "
                    "put the data on a shared folder, or at the same path on every node"
                )
            if not sees_mark:
                alone.append(node.name)
        if faults:
            raise NodeFault("\n".join(faults))
        self.is_shared = not alone
        if alone:
            self._report(
                f"{folder} is not shared with {', '.join(alone)}: a run whose node is lost begins "
                "anew; choose a shared folder to let it go on from its checkpoint"
            )

    def num_places(self) -> int:
        """Return how many runs fit on the nodes that are alive."""
        fitting = sum(self._places(node) for node in self._cluster.nodes())
        return fitting if self.workers is None else min(fitting, self.workers)

    def launch(self, job: Job) -> Launched:
        """Start a run on a node with room, or let it go on there."""
        return RayRun(self._cluster.ray, self._actor.remote(), job, is_shared=self.is_shared)

    def close(self) -> None:
        """End what still runs and leave the cluster."""
        self._cluster.close()


class RayRun:
    """A run on some node of a cluster.

    Args:
        ray: the module.
        actor: a `RunOnNode`.
        job: the run.
        is_shared: whether this program sees the run's folder.
    """

    def __init__(self, ray: Any, actor: Any, job: Job, *, is_shared: bool) -> None:
        self.is_resumed = is_shared and (Path(job.folder) / "config.json").is_file()
        self._ray = ray
        self._actor = actor
        self._running = actor.run.remote(job)
        self._asked = actor.progress.remote()
        self._progress = "waiting for a place"
        self._ending: Ending | None = None

    def poll(self) -> Ending | None:
        """Return how the run ended, None while it has not; its place is free then."""
        if self._ending is None and self._is_ready(self._running):
            self._ending = self._get_ending()
            self._end_actor()
        return self._ending

    def progress(self) -> str:
        """Return how far it was when its node last answered."""
        if self._ending is None and self._is_ready(self._asked):
            with suppress(self._ray.exceptions.RayError):  # `poll` says what became of it
                self._progress = self._ray.get(self._asked)
            self._asked = self._actor.progress.remote()
        return self._progress

    def ask_to_stop(self) -> None:
        """Let the run write a checkpoint; one that has no place yet ends at once."""
        if self.poll() is not None:
            return
        if self._progress == "waiting for a place" and not self._is_ready(self._asked):
            self.kill()
        else:
            self._actor.ask_to_stop.remote()

    def kill(self) -> None:
        """End the run and free its place."""
        if self._ending is None:
            self._ending = Ending(how="stopped", was_killed=True)
            self._end_actor()

    def _end_actor(self) -> None:
        self._ray.kill(self._actor, no_restart=True)

    def _is_ready(self, reference: Any) -> bool:
        ready, _ = self._ray.wait([reference], timeout=0)
        return bool(ready)

    def _get_ending(self) -> Ending:
        try:
            ending: Ending = self._ray.get(self._running)
        except self._ray.exceptions.RayTaskError as error:  # raised by the node's own part
            return Ending(how="it could not be run", last_lines=tuple(str(error).splitlines()))
        except self._ray.exceptions.RayError as error:
            lines = tuple(line.strip() for line in str(error).splitlines() if line.strip())
            return Ending(how="its node or its worker was lost", was_killed=True, last_lines=lines)
        return ending
