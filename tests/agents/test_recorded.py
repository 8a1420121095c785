import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pbrl.agents.recorded import RecordedUpdate, check_recordable, check_updates, make_update
from pbrl.agents.state import AgentOfParts
from pbrl.seeds import AgentStack
from tests import test_seeds
from tests.agents import tape, test_p_iql
from tests.agents.updates import (
    KEPT_REWARDS,
    NAMES,
    NOT_RECORDED,
    SEQUENCES,
    make_case,
    make_reward_step,
)

COMPILED = ("sac", "ipl", "iql", "cpl")
NUM_UPDATES = 14  # past every warm-up and change of phase


def close(found, expected, tolerance):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.fixture
def exact():
    """Compute in double precision.

    What moves no loss, such as the bias of attention's keys or of a reward that is only compared,
    has a rounding error for a gradient, which Adam brings to the size of its rate.
    """
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", [*NAMES, *NOT_RECORDED])
def test_no_update_waits_for_the_device(name, monkeypatch):
    agent, batch = make_case(name)
    batches = [batch(step) for step in range(3)]
    agent.update(batches[0])  # optimisers make their state
    with tape.never_waiting(monkeypatch):
        for one in batches[1:]:
            agent.update(one)


@pytest.mark.parametrize("name", KEPT_REWARDS)
def test_no_step_of_a_reward_waits_for_the_device(name, monkeypatch):
    step = make_reward_step(name)
    step()
    with tape.never_waiting(monkeypatch):
        step()


@pytest.mark.parametrize("look", [
    lambda numbers: numbers.sum().item(),
    lambda numbers: bool(numbers.any()),
    lambda numbers: numbers[numbers > 0],
    lambda numbers: numbers.cpu(),
    lambda numbers: numbers + torch.tensor([1.0, 2.0]),
    lambda numbers: (numbers > 0).nonzero(),
    lambda numbers: numbers.__setitem__(torch.arange(2), 0.0),
])  # fmt: skip
def test_the_guard_refuses(look, monkeypatch):
    with tape.never_waiting(monkeypatch), pytest.raises(tape.Waits):
        look(torch.ones(2))


@pytest.mark.parametrize("name", NAMES)
def test_recorded_updates_come_to_the_numbers_of_eager_ones(name, request):
    """By a tape that does on the CPU what a CUDA graph does."""
    if name in SEQUENCES:
        request.getfixturevalue("exact")
    (eager, batch), (agent, _) = make_case(name), make_case(name)
    recorded = RecordedUpdate(agent, tape.TapeRecorder())
    for step in range(10 if name in SEQUENCES else NUM_UPDATES):
        given = batch(step)
        expected, found = eager.update(given), recorded(given)
        close(found, expected, 1e-6)
        assert agent.num_updates == eager.num_updates
    assert recorded._recordings
    close(agent.state_dict(), eager.state_dict(), 1e-6)
    assert torch.equal(agent.generator.get_state(), eager.generator.get_state())


def test_what_is_loaded_or_made_anew_is_recorded_anew():
    (eager, batch), (agent, _) = make_case("sac"), make_case("sac")
    recorded = RecordedUpdate(agent, tape.TapeRecorder())
    for step in range(30):
        if step == 9:
            agent.load_state_dict(eager.state_dict())
        if step == 20:
            agent.reset_critic()
            eager.reset_critic()
        close(recorded(batch(step)), eager.update(batch(step)), 1e-6)
        if step in (9, 20):
            assert not recorded._recordings
    assert len(recorded._recordings) == 2  # with and without the step of the targets
    close(agent.state_dict(), eager.state_dict(), 1e-6)


def test_other_shapes_are_recorded_apart_and_few_are_kept(monkeypatch):
    monkeypatch.setattr("pbrl.graphs.MOST_RECORDINGS", 2)
    (eager, batch), (agent, _) = make_case("ipl"), make_case("ipl")
    recorded = RecordedUpdate(agent, tape.TapeRecorder())
    for step in range(21):
        given = batch(step)
        part = type(given)(
            pairs=given.pairs,
            transitions=type(given.transitions)(
                *(value[: 7 - step % 3] for value in vars(given.transitions).values())
            ),
        )
        close(recorded(part), eager.update(part), 1e-6)
    assert len(recorded._recordings) == 2


def test_a_rate_goes_on_in_a_plain_agent():
    agent, batch = make_case("iql")
    recorded = RecordedUpdate(agent, tape.TapeRecorder())
    for step in range(6):
        recorded(batch(step))
    rate = agent.state_dict()["policy_optimizer"]["param_groups"][0]["lr"]
    assert isinstance(rate, float)
    other, _ = make_case("iql")
    other.load_state_dict(agent.state_dict())
    other.generator.set_state(agent.generator.get_state())
    for step in (6, 7):
        close(recorded(batch(step)), other.update(batch(step)), 1e-6)


@pytest.mark.usefixtures("exact")
def test_a_rate_is_single_in_double_precision_too():
    """Whose eight bytes a fused Adam on CUDA would read as four."""
    agent, batch = make_case("iql")
    recorded = RecordedUpdate(agent, tape.TapeRecorder())
    recorded(batch(0))
    assert agent.optimizers()[0].param_groups[0]["params"][0].dtype == torch.float64
    rates = [one.param_groups[0]["lr"] for one in agent.optimizers()]
    assert torch.float32 in [rate.dtype for rate in rates if isinstance(rate, torch.Tensor)]


@pytest.mark.parametrize("name", ["sac", "iql", "cpl", "ipl"])
def test_seeds_together_can_be_recorded(name, monkeypatch):
    monkeypatch.setattr(
        "pbrl.seeds.make_update", lambda agent, _: RecordedUpdate(agent, tape.TapeRecorder())
    )
    kind, config = test_seeds.CONFIGS[name]
    alone = [test_seeds.agent(kind, config, seed) for seed in (3, 1)]
    stack = AgentStack([test_seeds.agent(kind, config, seed) for seed in (3, 1)], "graph")
    for step in range(NUM_UPDATES):
        batches = [test_seeds.given(kind, seed, step) for seed in (3, 1)]
        expected = [one.update(batch) for one, batch in zip(alone, batches, strict=True)]
        close(stack.update(batches), expected, 1e-4)
    stack.settle()
    for member, one in zip(stack.members, alone, strict=True):
        close(member.state_dict(), one.state_dict(), 1e-4)


def test_a_failed_recording_leaves_the_optimisers_as_they_were():
    agent, batch = make_case("sac")

    class Failing(tape.TapeRecorder):
        def record(self, run, generators):
            raise RuntimeError("no memory for a graph")

    recorded = RecordedUpdate(agent, Failing())
    for step in range(6):  # three of each kind
        recorded(batch(step))
    with pytest.raises(RuntimeError, match="no memory"):
        recorded(batch(6))
    assert not any(group["capturable"] for one in agent.optimizers() for group in one.param_groups)


def test_what_cannot_be_recorded_is_refused():
    with pytest.raises(ValueError, match="JointPIQL cannot be recorded: choose 'eager'"):
        check_recordable(test_p_iql.agent())
    with pytest.raises(ValueError, match="'graph' needs a CUDA device, and device is 'cpu'"):
        make_update(make_case("sac").agent, "graph")
    with pytest.raises(ValueError, match="updates must be eager, graph, compiled, got 'fast'"):
        check_updates("fast", "cpu")
    assert not AgentOfParts.is_recordable


def assert_compiles(backend, device, names):
    """In a process without checks of shapes, which the compiler cannot see through."""
    words = [sys.executable, "-m", "tests.agents.compiled_updates", backend, device, *names]
    root = Path(__file__).parents[2]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == list(names)


@pytest.mark.parametrize(
    ("backend", "names"),
    [("eager", COMPILED[:1]), pytest.param("inductor", COMPILED, marks=pytest.mark.slow)],
)
def test_compiled_updates_come_to_the_numbers_of_eager_ones(backend, names):
    """With the backend "eager" what the compiler has traced is run as it is."""
    assert_compiles(backend, "cpu", names)


@pytest.mark.gpu
@pytest.mark.parametrize("name", [*NAMES, *NOT_RECORDED])
def test_no_update_waits_for_a_gpu(name):
    agent, batch = make_case(name, "cuda")
    batches = [batch(step) for step in range(3)]
    agent.update(batches[0])
    torch.cuda.set_sync_debug_mode("error")
    try:
        for one in batches[1:]:
            agent.update(one)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("name", KEPT_REWARDS)
def test_no_step_of_a_reward_waits_for_a_gpu(name):
    step = make_reward_step(name, "cuda")
    step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("name", [name for name in NAMES if name not in SEQUENCES])
def test_compiled_updates_of_a_gpu_come_to_the_numbers_of_eager_ones(name):
    assert_compiles("inductor", "cuda", [name])


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_comes_to_the_numbers_of_its_eager_updates(name, request):
    if name in SEQUENCES:
        request.getfixturevalue("exact")
    (eager, batch), (agent, _) = make_case(name, "cuda"), make_case(name, "cuda")
    update = make_update(agent, "graph")
    for step in range(NUM_UPDATES):
        given = batch(step)
        close(update(given), eager.update(given), 1e-4)
    close(agent.state_dict(), eager.state_dict(), 1e-4)
