"""Environment steps of batched physics against dm_control and EnvPool, one thread each."""

import importlib.util
from typing import Any

import numpy as np
import torch

import pbrl.envs
from speed.environments import NUM_ACTIONS, Stepper, bare_envpool, bare_official
from speed.measure import Row, Times, time_in_turns

TASKS = ("walker-walk", "cheetah-run")
COUNTS = (1, 32, 256, 1024)
# dm_control and EnvPool hold a whole simulation for each environment and take them one by one: more
# of them cost no less each, and a thousand of EnvPool's would take 17 GB.
MOST_SEPARATE = 32
LEAST_RATIO = 1.0  # times dm_control, from this number of worlds on:
JUDGED_COUNT = 32


def batched_physics(rounds: int) -> list[Row]:
    """Time steps of all worlds under random actions.

    dm_control is a plain loop over its own environments that throws every observation away, and so
    is EnvPool, where it is installed. With a CUDA device and the extra `gpu` there are rows for MJX
    as well.
    """
    return [row for task in TASKS for row in compare(task, rounds)]


def compare(task: str, rounds: int) -> list[Row]:
    """Return the rows of one task."""
    separate: dict[int, dict[str, Stepper]] = {}
    rows = []
    for num_envs in COUNTS:
        num_separate = min(num_envs, MOST_SEPARATE)
        actions = _actions(f"dmc/{task}", num_envs)
        if num_separate not in separate:
            separate[num_separate] = _separate(f"dmc/{task}", actions[:, :num_separate].copy())
        contenders = {**separate[num_separate], **_batched(f"mjx/{task}", actions)}
        times = time_in_turns(contenders, rounds)
        counts = {name: num_envs if "pbrl" in name else num_separate for name in times}
        rows += [_row(name, f"{task} x{counts[name]}", counts, times) for name in times]
        print(f"measured {task} x{num_envs}", flush=True)
    return rows


def _actions(env_id: str, num_envs: int) -> np.ndarray:
    space = pbrl.envs.make(env_id, backend="official").single_action_space
    random = np.random.default_rng(0)
    drawn = random.uniform(-1, 1, (NUM_ACTIONS, num_envs, *space.shape))
    return drawn.astype(np.float32)


def _separate(env_id: str, actions: np.ndarray) -> dict[str, Stepper]:
    """Return the contenders that take one environment after the other."""
    contenders = {"dm_control": bare_official(env_id, actions)}
    if importlib.util.find_spec("envpool"):
        contenders["envpool"] = bare_envpool(env_id, actions)
    return contenders


def _batched(env_id: str, actions: np.ndarray) -> dict[str, Stepper]:
    """Return the contenders that take all worlds at once."""
    num_envs = actions.shape[1]
    env = pbrl.envs.make(env_id, num_envs, device="cpu", backend="rollout", num_threads=1)
    contenders = {"pbrl rollout": _tensors(env, torch.from_numpy(actions))}
    if torch.cuda.is_available() and importlib.util.find_spec("jax"):
        env = pbrl.envs.make(env_id, num_envs, device="cuda", backend="mjx")
        contenders["pbrl mjx"] = _tensors(env, torch.from_numpy(actions).cuda())
    return contenders


def _row(name: str, case: str, counts: dict[str, int], times: dict[str, Times]) -> Row:
    """Return a row; a GPU's steps are counted by the clock, the others by processor time."""
    is_gpu = name == "pbrl mjx"
    seconds = {
        who: (time.wall if is_gpu else time.cpu) / counts[who] for who, time in times.items()
    }
    ratio = seconds["dm_control"] / seconds[name]
    aim: dict[str, Any] = {}
    if name == "pbrl rollout" and counts[name] >= JUDGED_COUNT:
        aim = {"aim": "no slower than dm_control", "is_met": ratio >= LEAST_RATIO}
    return Row(
        section="batched physics",
        case=case,
        contender=name,
        **times[name].columns(),
        ratio=ratio,
        note=f"{1 / seconds[name]:,.0f} steps/s",
        **aim,
    )


def _tensors(env: Any, actions: torch.Tensor) -> Stepper:
    env.reset()

    def run(repetitions: int) -> None:
        for step in range(repetitions):
            outcome = env.step(actions[step % NUM_ACTIONS])
        outcome[1].sum().item()  # waits for the device

    return run
