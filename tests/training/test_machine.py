import json
import socket

from pbrl.training.machine import commit, machine, versions


def test_versions_name_what_changes_results():
    found = versions()
    assert {"python", "pbrl", "torch", "mujoco", "gymnasium"} <= set(found)


def test_the_machine_is_described_and_not_named():
    described = machine()
    assert set(described) == {"cpu", "cores", "gpu"}
    assert described["cores"] >= 1
    assert socket.gethostname() not in json.dumps(described).split('"')


def test_the_commit_is_that_of_the_package_or_nothing():
    found = commit()
    assert found is None or len(found.removesuffix("+changes")) >= 7
