"""A Ray cluster of two nodes on this machine, for tests."""

import os

os.environ.update(
    RAY_USAGE_STATS_ENABLED="0",
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # nodes speak over the loopback interface alone
    RAY_DEDUP_LOGS="0",
)

from contextlib import contextmanager  # noqa: E402  Ray reads the settings when it is loaded

import pytest  # noqa: E402

NODE = {"num_cpus": 2, "num_gpus": 0, "object_store_memory": 80 * 2**20}
QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 40,  # a busy machine answers late
    "prestart_worker_first_driver": False,
    "enable_worker_prestart": False,
}


@contextmanager
def two_nodes():
    """A head and a second node with two CPUs each; a lost node is noticed in twenty seconds.

    This process is connected to it.
    """
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    from ray.cluster_utils import Cluster

    here = {"node_ip_address": "127.0.0.1"}
    head = {**NODE, **here, "include_dashboard": False, "_system_config": QUICK}
    cluster = Cluster()
    try:
        try:
            cluster.add_node(**head)
            cluster.second = cluster.add_node(**NODE, **here)
            ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        except (OSError, RuntimeError, ray.exceptions.RayError) as error:
            pytest.skip(f"no Ray cluster starts on this machine: {error}")
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
