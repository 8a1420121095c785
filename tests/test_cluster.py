import socket
import sys
import time

import pytest

from pbrl.cluster import Cluster, Node, NodeFault, load_ray


@pytest.fixture
def ray():
    return pytest.importorskip("ray", reason="the extra ray is not installed")


@pytest.mark.usefixtures("ray")
def test_an_address_where_nothing_answers_is_refused_at_once():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    start = time.monotonic()
    with pytest.raises(ConnectionError, match=r"no Ray cluster answers .*\n.*ray start --head"):
        Cluster(address)
    assert time.monotonic() - start < 15
    with pytest.raises(ValueError, match="address must be auto, HOST:PORT or ray://HOST:PORT"):
        Cluster("somewhere")


class OtherVersions:
    """What Ray raises where the cluster has other versions, or for another reason."""

    def __init__(self, message):
        self.message = message

    def is_initialized(self):
        return False

    def init(self, **_):
        raise RuntimeError(self.message)


def test_a_cluster_of_other_versions_is_refused_with_the_cure(monkeypatch):
    told = "Version mismatch: The cluster was started with:\n    Ray: 2.40.0\n    Python: 3.11.7\n"
    monkeypatch.setattr("pbrl.cluster.load_ray", lambda: OtherVersions(told))
    with pytest.raises(NodeFault, match=r"install the same versions of Ray .*\n.*\n +Ray: 2.40.0"):
        Cluster()
    monkeypatch.setattr("pbrl.cluster.load_ray", lambda: OtherVersions("no space left"))
    with pytest.raises(RuntimeError, match="no space left"):
        Cluster()


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        ImportError, match=r"package ray is not installed: pip install 'pbrl\[ray\]'"
    ):
        load_ray()


def test_how_much_fits_on_a_node():
    node = Node("id", "name", {"CPU": 4.0, "GPU": 1.0})
    assert node.num_places(1.0, 0.0) == 4
    assert node.num_places(1.0, 0.1) == 4
    assert node.num_places(0.1, 0.1) == 10  # and not 9 by rounding
    assert node.num_places(0.5, 2.0) == 0
    assert Node("id", "name", {}).num_places(1.0, 0.0) == 0


HERE = {"versions": {"python": "3.11.7", "pbrl": "0.1.0", "torch": "2.13.0"}, "code": "a"}


class Answers(Cluster):
    """A cluster whose nodes answer as told."""

    def __init__(self, **answers):
        self.nodes_told = [Node(name, name, {}) for name in answers]
        self.answers = list(answers.values())

    def ask(self, nodes, function, *arguments):
        return self.answers


def there(error=None, code="a", **versions):
    return {"versions": HERE["versions"] | versions, "error": error, "code": code}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (there(torch="2.12.0"), r"node b has torch 2\.12\.0 \(here 2\.13\.0\): install the same"),
        (there(python="3.12.1"), r"node b has python 3\.12\.1"),
        (there(error="No module named 'pbrl'", pbrl="not installed"),
         r"node b cannot import pbrl \(No module .*it has pbrl not installed \(here 0\.1\.0\): run "
         r"`pip install pbrl==0\.1\.0` there"),
        (there(code="b"), r"node b has other code of pbrl 0\.1\.0 .*: bring both to the"),
        (TimeoutError("no worker\nstarted"), "node b does not answer: no worker$"),
    ],
)  # fmt: skip
def test_a_node_that_differs_is_named_with_the_cure(monkeypatch, answer, message):
    monkeypatch.setattr("pbrl.cluster._look_around", lambda: lambda packages, imports: HERE)
    cluster = Answers(a=there(), b=answer)
    with pytest.raises(NodeFault, match=message) as fault:
        cluster.check_nodes(cluster.nodes_told)
    assert "node a" not in str(fault.value)
    alike = Answers(a=there(), b=there())
    alike.check_nodes(alike.nodes_told)
