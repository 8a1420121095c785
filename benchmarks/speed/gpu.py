"""What is asked of one GPU: updates, many seeds, and worlds per second."""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

import pbrl.envs
from pbrl.agents.recorded import Updates, make_update
from pbrl.agents.sac import SAC, SACConfig
from pbrl.linear import Precision, matmul_precision
from pbrl.replay import ReplayBuffer
from pbrl.rewards import RewardConfig, RewardEnsemble
from pbrl.seeds import AgentStack
from pbrl.training.collector import FINAL
from speed.measure import (
    ACTION_DIM,
    OBSERVATION_DIM,
    Row,
    repeated,
    synchronize,
    time_in_turns,
    warmed,
)
from speed.sac import stored_steps

LEAST_UPDATES = 1_500.0  # per second, of SAC at the papers' size
LEAST_STEPS = 500_000.0  # per second, of cheetah-run
MOST_TIMES = 3.0  # that 16 seeds take of one
EPISODE_STEPS = 1_000  # of every task of the control suite
EAGER: Updates = "eager"


@dataclass(frozen=True, kw_only=True)
class GpuSetting:
    """What is measured, and where.

    Attributes:
        device: "cuda", or "cpu" to try the programs.
        rounds: turns that every contender gets.
        hidden_sizes: of SAC.
        batch_size: of SAC.
        seeds: trained together.
        worlds: how many of them are stepped at once.
        task: in batched physics.
    """

    device: str = "cuda"
    rounds: int = 3
    hidden_sizes: tuple[int, ...] = (1_024, 1_024)
    batch_size: int = 1_024
    seeds: int = 16
    worlds: tuple[int, ...] = (1_024, 4_096, 16_384)
    task: str = "mjx/cheetah-run"

    @property
    def ways(self) -> tuple[Updates, ...]:
        """How updates can be made there."""
        return (EAGER, "compiled") if self.device == "cpu" else (EAGER, "compiled", "graph")

    def agent(self, seed: int = 0) -> SAC:
        """Return a new agent."""
        config = SACConfig(hidden_sizes=self.hidden_sizes)
        generator = torch.Generator(self.device).manual_seed(seed)
        return SAC(config, OBSERVATION_DIM, ACTION_DIM, device=self.device, generator=generator)

    def replay(self) -> tuple[ReplayBuffer, torch.Generator]:
        """Return stored steps, and what draws them."""
        generator = torch.Generator(self.device).manual_seed(0)
        return stored_steps(generator), generator

    def timed(
        self, contenders: Mapping[str, Callable[[], object]], most: int | None = None
    ) -> dict[str, float]:
        """Return seconds by the clock of each contender, in turns; see `time_in_turns`."""

        def waiting(run: Callable[[], object], repetitions: int) -> None:
            repeated(run)(repetitions)
            synchronize(self.device)

        runs = {name: partial(waiting, run) for name, run in contenders.items()}
        times = time_in_turns(runs, self.rounds, most=most)
        return {name: found.wall for name, found in times.items()}


def updates(setting: GpuSetting) -> list[Row]:
    """Time an update of SAC, made in every way and at both precisions; batches are drawn in it."""
    replay, generator = setting.replay()

    def contender(way: Updates, precision: Precision) -> Callable[[], object]:
        update = make_update(setting.agent(), way)

        def step() -> object:
            with matmul_precision(precision):
                return update(replay.sample(setting.batch_size, generator))

        return warmed(step)

    contenders = {
        f"{way}, {precision}": contender(way, precision)
        for way in setting.ways
        for precision in ("float32", "bfloat16")
    }
    return [
        _row(
            "updates",
            _size(setting),
            name,
            seconds,
            note=f"{1 / seconds:,.0f} updates/s",
            aim=f"at least {LEAST_UPDATES:,.0f} updates/s",
            is_met=1 / seconds >= LEAST_UPDATES,
        )
        for name, seconds in setting.timed(contenders).items()
    ]


def seeds(setting: GpuSetting, way: Updates = EAGER) -> list[Row]:
    """Time an update of many seeds as one computation beside that of one."""
    replay, generator = setting.replay()
    number = setting.seeds

    def many() -> object:
        return stack.update([replay.sample(setting.batch_size, generator) for _ in range(number)])

    def single() -> object:
        return one(replay.sample(setting.batch_size, generator))

    stack = AgentStack([setting.agent(seed) for seed in range(number)], way)
    one = make_update(setting.agent(), way)
    names = f"1 seed, {way}", f"{number} seeds, {way}"
    times = setting.timed({names[0]: warmed(single), names[1]: warmed(many)})
    ratio = times[names[1]] / times[names[0]]
    aim = {"aim": f"at most {MOST_TIMES:g}x one", "is_met": ratio <= MOST_TIMES}
    return [
        _row("seeds", _size(setting), names[0], times[names[0]]),
        _row("seeds", _size(setting), names[1], times[names[1]], note=f"{ratio:.2f}x one", **aim),
    ]


def worlds(setting: GpuSetting) -> list[Row]:
    """Time steps of batched physics, alone and with the learned reward and the replay beside them.

    Starts of episodes are not among them: all worlds begin at once, and no more steps are made than
    an episode has.
    """
    has_mjx = setting.device != "cpu" and importlib.util.find_spec("jax") is not None
    return [
        row
        for number in setting.worlds
        for row in _worlds(setting, number, "mjx" if has_mjx else "rollout")
    ]


def _worlds(setting: GpuSetting, number: int, backend: str) -> list[Row]:
    env = pbrl.envs.make(setting.task, number, device=setting.device, backend=backend)
    sizes = env.single_observation_space.shape[0], env.single_action_space.shape[0]
    generator = torch.Generator(setting.device).manual_seed(0)
    model = RewardEnsemble(RewardConfig(), *sizes, generator=generator)
    replay = ReplayBuffer(10 * number, *sizes, num_envs=number, device=setting.device)
    actions = 2 * torch.rand(number, sizes[1], generator=generator, device=setting.device) - 1
    seen = env.reset(seed=0)[0]

    def stored() -> None:
        nonlocal seen
        following, rewards, terminated, truncated, infos = env.step(actions)
        with torch.no_grad():
            learned = model.mean_reward(seen, actions)
        outcome = (learned, rewards, following, terminated, truncated)
        replay.add(seen, actions, *outcome, may_end=FINAL in infos)
        seen = following

    contenders = {"stepped": lambda: env.step(actions), "rewarded and stored": stored}
    most = EPISODE_STEPS // (len(contenders) * (setting.rounds + 1))
    times = setting.timed(contenders, most)
    env.close()
    return [
        _row(
            "worlds",
            f"{setting.task} x{number:,}, {backend}",
            name,
            seconds,
            note=f"{number / seconds:,.0f} steps/s",
            aim=f"at least {LEAST_STEPS:,.0f} steps/s",
            is_met=number / seconds >= LEAST_STEPS,
        )
        for name, seconds in times.items()
    ]


def _size(setting: GpuSetting) -> str:
    return f"SAC, {len(setting.hidden_sizes)}x{setting.hidden_sizes[0]}, batch {setting.batch_size}"


def _row(section: str, case: str, contender: str, seconds: float, **more: Any) -> Row:
    return Row(section=section, case=case, contender=contender, milliseconds=1e3 * seconds, **more)
