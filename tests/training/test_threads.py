import pytest
import torch

from pbrl.training.config import TrainConfig
from pbrl.training.presets import make_config
from pbrl.training.threads import torch_threads


def test_the_number_holds_for_a_while_only():
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        with torch_threads(None):
            assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(KeyError), torch_threads(before + 1):
        raise KeyError
    assert torch.get_num_threads() == before


def test_small_networks_take_one_thread_and_those_of_papers_what_there_is():
    assert make_config("dmc/walker-walk", "qpa").threads == 1
    assert make_config("dmc/walker-walk", "qpa", preset="paper").threads is None
    with pytest.raises(ValueError, match="threads must be at least 1"):
        TrainConfig(env="dmc/walker-walk", threads=0)
