import pytest
import torch

from pbrl.devices import find_device


def test_the_cpu_is_there():
    assert find_device(None) == find_device("cpu") == torch.device("cpu")


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("cuda") == torch.device("cuda", 0)
    assert find_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="device 'cuda:2': torch .* sees 2 GPUs"):
        find_device("cuda:2")


def test_without_a_gpu_it_is_said_what_to_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="sees 0 GPUs.*torch built for CUDA.*--device cpu"):
        find_device("cuda")


def test_a_device_that_torch_does_not_know_is_refused():
    with pytest.raises(ValueError, match="'cpu', 'cuda' or 'cuda:N', got 'gpu'"):
        find_device("gpu")
