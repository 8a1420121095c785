from functools import partial

import pytest
import torch

from pbrl.reward_seeds import take_passes_together
from pbrl.reward_steps import RecordedStep, make_step
from tests import test_reward_seeds
from tests.agents import tape
from tests.agents.updates import KEPT_REWARDS, data_of, make_reward

LABELS = (40, 44)  # of two sessions: of 16, 16 and 8 pairs, then of 16, 16 and 12


def close(found, expected, tolerance):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def learned(name, way, device="cpu"):
    """Return what two sessions come to, and the learner."""
    learner, begin = make_reward(name, device)
    found = []
    for number in LABELS:
        session = begin(number)
        way(learner, session)
        found.append(learner.end(session))
    return found, learner, session.generator


def eagerly(learner, session):
    learner.take_passes(session)


@pytest.mark.parametrize("name", KEPT_REWARDS)
def test_recorded_steps_come_to_the_numbers_of_eager_ones(name):
    """By a tape that does on the CPU what a CUDA graph does."""

    def from_tape(learner, session):
        step = RecordedStep(learner, data_of(session), tape.TapeRecorder())
        session.take_passes(step)
        assert len(step._recordings) == 2  # the last minibatch of a pass is smaller
        assert not any(group["capturable"] for group in learner.optimizer.param_groups)

    expected, eager, draws = learned(name, eagerly)
    found, recorded, other_draws = learned(name, from_tape)
    close(found, expected, 1e-6)
    close(recorded.state_dict(), eager.state_dict(), 1e-6)
    assert recorded.num_steps == eager.num_steps == 24
    assert torch.equal(other_draws.get_state(), draws.get_state())


def test_steps_of_seeds_together_can_be_recorded(monkeypatch):
    made = []

    class Recorder(tape.TapeRecorder):
        def __init__(self, device):
            assert device == torch.device("cpu")

        def record(self, run, generators):
            made.append(len(generators))
            return super().record(run, generators)

    monkeypatch.setattr("pbrl.graphs.GraphRecorder", Recorder)
    recorded = partial(take_passes_together, updates="graph")
    monkeypatch.setattr(test_reward_seeds, "take_passes_together", recorded)
    test_reward_seeds.test_seeds_learn_together_what_they_learn_alone("crops")
    assert made == [len(test_reward_seeds.SEEDS)] * 2  # for each session


@pytest.mark.parametrize(
    ("name", "updates"),
    [("crops", "eager"), ("crops", "compiled"), ("more than memory holds", "graph")],
)
def test_what_is_not_recorded_is_made_as_it_is(name, updates):
    learner, begin = make_reward(name)
    assert not isinstance(make_step(learner, data_of(begin(20)), updates), RecordedStep)


@pytest.mark.gpu
@pytest.mark.parametrize("name", KEPT_REWARDS)
def test_a_gpu_comes_to_the_numbers_of_its_eager_steps(name):
    expected, eager, _ = learned(name, eagerly, "cuda")
    recorded = partial(eager.__class__.take_passes, updates="graph")
    found, learner, _ = learned(name, recorded, "cuda")
    close(found, expected, 1e-4)
    close(learner.state_dict(), eager.state_dict(), 1e-4)
