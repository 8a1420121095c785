"""SAC updates, with the batch drawn from the replay, against stable-baselines3."""

from collections.abc import Callable, Mapping

import gymnasium
import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.logger import Logger

from pbrl.agents.sac import SAC, SACConfig
from pbrl.replay import ReplayBuffer
from speed.measure import (
    ACTION_DIM,
    OBSERVATION_DIM,
    Row,
    Times,
    product_rows,
    products,
    rates,
    shares,
    time_in_turns,
)

SIZES = (((256, 256), 256), ((256, 256, 256), 512), ((1024, 1024), 1024))
LEAST_RATIOS: Mapping[tuple[tuple[int, ...], int], float] = {SIZES[0]: 1.5, SIZES[1]: 1.2}
LEAST_SHARE = 0.85
NUM_STORED = 10_000


def sac_updates(rounds: int) -> list[Row]:
    """Time an update with its batch drawn from the replay: ours against stable-baselines3's SAC.

    Beside them runs the machine's float32 product of the hidden layer's size, by `torch.mm` and by
    the one our layers use; the share of each rate that our update's floating-point operations
    reach is in the notes.
    """
    rows = []
    for hidden_sizes, batch_size in SIZES:
        width = hidden_sizes[0]
        updates = {
            "stable-baselines3": baseline_sac(hidden_sizes, batch_size),
            "pbrl": our_sac(hidden_sizes, batch_size)[1],
        }
        times = time_in_turns(updates | products(batch_size, width), rounds)
        case = f"{len(hidden_sizes)}x{width} batch {batch_size}"
        reference = rates(times, batch_size, width)
        rows.extend(_update_rows(case, (hidden_sizes, batch_size), times, reference))
        rows.extend(product_rows("float32 product", case, times, reference))
    return rows


def _update_rows(
    case: str,
    size: tuple[tuple[int, ...], int],
    times: Mapping[str, Times],
    reference: Mapping[str, float],
) -> list[Row]:
    baseline, ours = times["stable-baselines3"], times["pbrl"]
    ratio = baseline.cpu / ours.cpu
    rate = flops_per_update(*size) / ours.cpu
    if size in LEAST_RATIOS:
        least = LEAST_RATIOS[size]
        aim, is_met = f"{least}x stable-baselines3", ratio >= least
    else:
        aim = f"{LEAST_SHARE:.0%} of the fastest product"
        is_met = rate >= LEAST_SHARE * max(reference.values())
    columns = {"section": "SAC update", "case": case}
    return [
        Row(**columns, contender="stable-baselines3", **baseline.columns(), ratio=1.0),
        Row(
            **columns,
            contender="pbrl",
            **ours.columns(),
            ratio=ratio,
            note=f"{1 / ours.cpu:.0f} updates/s, {shares(rate, reference)}",
            aim=aim,
            is_met=is_met,
        ),
    ]


def flops_per_update(hidden_sizes: tuple[int, ...], batch_size: int) -> int:
    """Count the floating-point operations of the matrix products in one update of SAC.

    Forward: actor twice, target critics, critics twice. Backward: weights of the critics and of
    the actor, inputs of every layer that a gradient passes through.
    """

    def multiplications(sizes: tuple[int, ...]) -> tuple[int, int]:
        each = [one * other for one, other in zip(sizes, sizes[1:], strict=False)]
        return sum(each), each[0]

    actor, actor_first = multiplications((OBSERVATION_DIM, *hidden_sizes, 2 * ACTION_DIM))
    critic, critic_first = multiplications((OBSERVATION_DIM + ACTION_DIM, *hidden_sizes, 1))
    forward = 2 * actor + 2 * critic + 2 * 2 * critic
    critic_backward = 2 * (critic + critic - critic_first)
    actor_backward = 2 * critic + actor + actor - actor_first
    return 2 * batch_size * (forward + critic_backward + actor_backward)


def our_sac(
    hidden_sizes: tuple[int, ...], batch_size: int, device: str = "cpu"
) -> tuple[SAC, Callable[[int], None]]:
    """Return our agent, and updates of it with batches drawn from a replay."""
    generator = torch.Generator(device).manual_seed(0)
    config = SACConfig(hidden_sizes=hidden_sizes)
    agent = SAC(config, OBSERVATION_DIM, ACTION_DIM, device=device, generator=generator)
    replay = stored_steps(generator)

    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            agent.update(replay.sample(batch_size, generator))

    return agent, run


def stored_steps(generator: torch.Generator) -> ReplayBuffer:
    """Return a replay of random steps on the generator's device."""
    device = generator.device
    replay = ReplayBuffer(NUM_STORED, OBSERVATION_DIM, ACTION_DIM, num_envs=100, device=device)
    never = torch.zeros(100, dtype=torch.bool, device=device)
    for _ in range(NUM_STORED // 100):
        observations = torch.randn(100, OBSERVATION_DIM, generator=generator, device=device)
        actions = 2 * torch.rand(100, ACTION_DIM, generator=generator, device=device) - 1
        rewards = torch.rand(100, generator=generator, device=device)
        replay.add(observations, actions, rewards, rewards, observations, never, never)
    return replay


def baseline_sac(
    hidden_sizes: tuple[int, ...], batch_size: int, device: str = "cpu"
) -> Callable[[int], None]:
    """Return updates of stable-baselines3's agent, likewise."""
    model = stable_baselines3.SAC(
        "MlpPolicy",
        _SpacesOnly(),
        learning_rate=5e-4,
        buffer_size=NUM_STORED,
        target_update_interval=2,
        policy_kwargs={"net_arch": list(hidden_sizes)},
        device=device,
        seed=0,
    )
    model.set_logger(Logger(None, []))
    random = np.random.default_rng(0)
    for _ in range(NUM_STORED):
        observation, following = random.normal(size=(2, 1, OBSERVATION_DIM)).astype(np.float32)
        action = random.uniform(-1, 1, (1, ACTION_DIM)).astype(np.float32)
        reward, done = random.uniform(size=1), np.zeros(1)
        model.replay_buffer.add(observation, following, action, reward, done, [{}])
    return lambda repetitions: model.train(repetitions, batch_size)


class _SpacesOnly(gymnasium.Env[np.ndarray, np.ndarray]):
    """Spaces for a baseline that is never stepped."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBSERVATION_DIM,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (ACTION_DIM,))
