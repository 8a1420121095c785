from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from pbrl.graphs import GraphRecorder


@pytest.fixture
def cuda(monkeypatch):
    """Two devices that do nothing; the first is the current one."""
    now = SimpleNamespace(device="cuda:0", stream=None)

    @contextmanager
    def setting(name, value):
        before = getattr(now, name)
        setattr(now, name, value)
        yield
        setattr(now, name, before)

    class Stream:
        def __init__(self, device=None):
            self.device = str(device or now.device)

        def wait_stream(self, other):
            assert other.device == self.device

    class Graph:
        def __init__(self):
            self.device = now.device

        def register_generator_state(self, generator):
            assert self.device == now.device

        def replay(self):
            assert self.device == now.device

    def graph(made, stream, capture_error_mode):
        assert made.device == now.device
        return setting("stream", stream)

    stand_ins = {
        "Stream": Stream,
        "current_stream": Stream,
        "device": lambda device: setting("device", str(device)),
        "stream": lambda stream: setting("stream", stream),
        "CUDAGraph": Graph,
        "graph": graph,
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return now


def test_all_is_recorded_on_the_device_that_is_computed_on(cuda):
    recorder = GraphRecorder(torch.device("cuda", 1))

    def run():
        assert cuda.device == cuda.stream.device == "cuda:1"
        return {"done": torch.ones(())}

    recorder.warm_up(run)
    play, results = recorder.record(run, [torch.Generator()])
    assert results["done"]
    play()
    assert cuda.device == "cuda:0"
