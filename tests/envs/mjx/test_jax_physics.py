"""MJX against MuJoCo itself; needs jax, on the CPU or, marked `gpu`, on a CUDA device."""

import re

import numpy as np
import pytest
import torch

import pbrl.envs
from pbrl.envs.mjx.jax_physics import JaxPhysics, find_device, import_jax
from pbrl.envs.mjx.jax_program import lowered
from pbrl.envs.mjx.starts import at_rest, random_joints
from pbrl.envs.mjx.tasks import TASKS

pytest.importorskip("jax", reason="jax is not installed: pip install 'pbrl[gpu]'")
pytest.importorskip("mujoco.mjx", reason="mujoco-mjx is not installed: pip install 'pbrl[gpu]'")

NUM_WORLDS = 4
# Greatest difference of observations and rewards, in single against double precision, within so
# many steps. Measured on the CPU: reacher 1e-6 and cart-pole 4e-6 in 200 steps, cheetah 5e-5 in
# 100, hopper 1e-5 in 20, walker 7e-5 in 10; feet on the ground then make small differences large.
# The quadruped's force sensors differ by 4e-3 in 20, its rewards by 2e-6.
AGREEMENT = {
    "reacher-easy": (200, 1e-5),
    "cartpole-swingup": (200, 5e-5),
    "cheetah-run": (100, 5e-4),
    "hopper-hop": (20, 1e-3),
    "walker-walk": (10, 1e-3),
    "quadruped-walk": (20, 1e-2),
}
SLOW = [pytest.param(task, marks=pytest.mark.slow) for task in list(AGREEMENT)[1:]]
ON_GPU = [pytest.param(task, marks=pytest.mark.gpu) for task in AGREEMENT]


@pytest.fixture(autouse=True, scope="module")
def _compile_quickly():
    """Leave out optimisations: a test's few steps do not repay them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
        yield


def assert_agrees(task, device):
    num_steps, tolerance = AGREEMENT[task]
    theirs = pbrl.envs.make(f"mjx/{task}", NUM_WORLDS, device="cpu", num_threads=1)
    ours = pbrl.envs.make(f"mjx/{task}", NUM_WORLDS, device=device, backend="mjx")
    theirs.reset(seed=0)
    ours.reset(seed=0)
    for world in range(NUM_WORLDS):  # generators of a GPU draw other numbers
        ours.set_state(world, theirs.get_state(world))
    generator = torch.Generator().manual_seed(0)
    for _ in range(num_steps):
        actions = 2 * torch.rand(ours.action_space.shape, generator=generator) - 1
        expected = theirs.step(actions)
        found = ours.step(actions.to(device))
        for part in (0, 1):
            assert found[part].device.type == torch.device(device).type
            torch.testing.assert_close(found[part].cpu(), expected[part], atol=tolerance, rtol=0.0)


@pytest.mark.parametrize("task", ["reacher-easy", *SLOW])
def test_equal_states_and_actions_lead_to_equal_steps(task):
    assert_agrees(task, "cpu")


@pytest.mark.parametrize("task", ON_GPU)
def test_a_gpu_makes_the_same_steps(task):
    assert_agrees(task, "cuda")


@pytest.fixture(scope="module")
def reacher():
    return JaxPhysics(TASKS["reacher-easy"].build_model(), NUM_WORLDS, torch.device("cpu"))


def test_tensors_and_arrays_share_memory(reacher):
    tensor = torch.rand(NUM_WORLDS, 16)
    array = reacher._to_jax(tensor)
    assert array.unsafe_buffer_pointer() == tensor.data_ptr()
    assert reacher._to_torch(array).data_ptr() == tensor.data_ptr()
    assert reacher._to_torch(reacher._to_jax(torch.zeros(NUM_WORLDS, 0))).shape == (NUM_WORLDS, 0)


def test_no_steps_change_nothing(reacher):
    qpos = random_joints(reacher, NUM_WORLDS, torch.Generator().manual_seed(0), free_hinges=True)
    state = at_rest(reacher, qpos).state
    assert torch.equal(state.qpos, qpos.float())
    assert not state.qvel.any()
    moved = reacher.step(state, torch.ones(NUM_WORLDS, 2), 3)
    again = reacher.step(state, torch.ones(NUM_WORLDS, 2), 1)
    for _ in range(2):
        again = reacher.step(again, torch.ones(NUM_WORLDS, 2), 1)
    assert torch.equal(moved.qpos, again.qpos)
    assert moved.qvel.all()


def test_equal_worlds_share_a_program(reacher):
    build = TASKS["reacher-easy"].build_model
    again = JaxPhysics(build(), NUM_WORLDS, torch.device("cpu"))
    assert again._program is reacher._program
    model = build()
    model.opt.timestep *= 2
    assert JaxPhysics(model, NUM_WORLDS, torch.device("cpu"))._program is not reacher._program
    again.close()
    assert reacher._program.num_bytes > 0


def test_what_no_step_changes_is_put_there_once(reacher, monkeypatch):
    qpos = random_joints(reacher, NUM_WORLDS, torch.Generator().manual_seed(0), free_hinges=True)
    state, controls = at_rest(reacher, qpos).state, torch.ones(NUM_WORLDS, 2)
    state = reacher.step(state, controls, 2)

    def refuse(value):
        raise AssertionError(f"{value} was put on the device again")

    monkeypatch.setattr(reacher, "_put", refuse)
    reacher.step(state, controls, 2)


def test_products_are_made_in_single_precision(reacher):
    """Not in TF32, which GPUs take by default."""
    jax, mjx = import_jax()
    arguments = (TASKS["reacher-easy"].build_model(), NUM_WORLDS, jax.devices("cpu")[0])
    text = lowered(jax, mjx, *arguments).as_text()
    products = re.findall(r"stablehlo.dot_general.*", text)
    assert products
    assert all("precision = [HIGHEST, HIGHEST]" in product for product in products)


def test_a_divergence_is_found(reacher):
    env = pbrl.envs.make("mjx/reacher-easy", NUM_WORLDS, backend="mjx")
    env.reset()
    state = env.get_state(2)
    env.set_state(2, {**state, "qvel": np.full(2, np.nan)})
    with pytest.raises(pbrl.envs.EnvironmentFault, match="world 2 diverged in step 1"):
        env.step(env.action_space.sample())


def test_a_device_that_jax_does_not_see_is_refused():
    jax, _ = import_jax()
    if jax.default_backend() == "gpu":
        pytest.skip("jax sees a GPU")
    with pytest.raises(ValueError, match=r"jax sees no device cuda:0.*pip install 'pbrl\[gpu\]'"):
        find_device(jax, torch.device("cuda", 0))


def test_threads_are_no_option():
    with pytest.raises(ValueError, match="MJX has no threads"):
        pbrl.envs.make("mjx/reacher-easy", backend="mjx", num_threads=2)
