import pytest
import torch

from pbrl.replay import ReplayBuffer
from pbrl.ring import bytes_of_step
from pbrl.training import device_memory
from pbrl.training.device_memory import (
    GIBIBYTE,
    OutOfDeviceMemory,
    check_replay,
    naming_what_to_lower,
)
from pbrl.training.fit import fit
from pbrl.training.run import train, train_seeds
from tests.training.point_mass import make_data
from tests.training.test_fit import quick

FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. If reserved but unallocated memory is large"


def fail(*_, **__):
    raise torch.OutOfMemoryError(FULL)


def test_a_full_gpu_names_what_to_lower_and_keeps_the_notes():
    error = torch.OutOfMemoryError(FULL)
    error.add_note("What came before is saved.")
    message = r"^cuda has too little memory: .*allocate 2.00 GiB.\nLower the worlds; or train fewer"
    with (
        pytest.raises(OutOfDeviceMemory, match=message) as fault,
        naming_what_to_lower("cuda", "the worlds"),
    ):
        raise error
    assert fault.value.__notes__ == ["What came before is saved."]


def test_every_kind_of_run_says_so(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr("pbrl.training.run.build_parts", fail)
    online = r"Lower --environment.num-envs, --batch-size or --replay-capacity"
    with pytest.raises(OutOfDeviceMemory, match=online):
        train(tiny_config, tmp_path / "one")
    with pytest.raises(OutOfDeviceMemory, match=online):
        train_seeds(tiny_config, {0: tmp_path / "0", 1: tmp_path / "1"})
    monkeypatch.setattr("pbrl.training.fit.build_offline_loop", fail)
    with pytest.raises(OutOfDeviceMemory, match="Lower the batch sizes of the method"):
        fit(quick("bc"), tmp_path / "offline", data=make_data(num_pairs=40))


def test_a_replay_that_does_not_fit_is_counted(monkeypatch):
    check_replay(2**60, 100, "cpu")
    monkeypatch.setattr(device_memory, "free_memory", lambda device: 2 * GIBIBYTE)
    check_replay(2**21, 2**10, "cuda")
    with pytest.raises(OutOfDeviceMemory, match=r"needs 4.0 GiB on cuda, where 2.0 .* 2,097,152"):
        check_replay(2**22, 2**10, "cuda")


@pytest.mark.parametrize(("dtype", "expected"), [(torch.float32, 52), (torch.uint8, 37)])
def test_the_bytes_of_a_step(dtype, expected):
    ring = ReplayBuffer(8, 5, 5, observation_dtype=dtype)._ring
    held = (ring.observations, ring.actions, ring.rewards, ring.true_rewards, ring.episode)
    assert bytes_of_step(5, 5, dtype) == expected
    assert sum(one.element_size() * one.numel() for one in held) == 8 * expected
