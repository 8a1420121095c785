"""Every way to make one update of a method, at the size of its paper or at one for two cores."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from speed import official_bpref, offline_agents, reward, sequence_agents, taco
from speed.measure import ACTION_DIM, OBSERVATION_DIM, repeated, stored_episodes
from speed.offline_updates import Build, Size
from speed.plain_agents import PlainCPL, PlainIPL, PlainIQL, PlainSAC
from speed.plain_taco import PlainTaco
from speed.sac import baseline_sac, our_sac, stored_steps

DIMS = (OBSERVATION_DIM, ACTION_DIM)
SAC_SIZES = (((256, 256), 256), ((1024, 1024), 1024))
PAIRS, FEW_PAIRS, SEGMENT_STEPS = 1_000, 128, 50
EPISODES, FEW_EPISODES = 100, 10  # of 1,000 steps, relabelled
IMAGES, FEW_IMAGES = taco.BATCH, 64

Run = Callable[[int], object]
Made = tuple[Any, Callable[[], object]]
"""An agent, and a function that makes one update of it by its `update`."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all comparisons are made with.

    Attributes:
        device: where updates run: "cpu" or "cuda".
        checkouts: folders of the official programs, by name.
        quick: leave out what takes two cores more than seconds.
    """

    device: str = "cpu"
    checkouts: Mapping[str, Path | None] = field(default_factory=dict)
    quick: bool = False

    def generator(self) -> torch.Generator:
        """Return a new generator on the device."""
        return torch.Generator(self.device).manual_seed(0)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One update, made in several ways.

    Attributes:
        method: whose update.
        case: its size.
        make: returns ours, new at every call.
        others: ways of others by name, each repeated as often as it is told.
        batch: what ours learns from; None where it is drawn in the update.
        num_steps: steps of the optimiser in what is measured.
        compiles: whether torch.compile is tried on a CPU too, where it takes long.
        notes: why something is missing.
        is_heavy: whether one round must do.
    """

    method: str
    case: str
    make: Callable[[], Made]
    others: Mapping[str, Run]
    batch: object = None
    num_steps: int = 1
    compiles: bool = False
    notes: tuple[str, ...] = ()
    is_heavy: bool = False


def sac(setting: Setting) -> list[Comparison]:
    """Compare SAC, which PEBBLE and QPA learn their policy by; batches are drawn in the update."""
    return [
        _sac(setting, *size, is_small=size == SAC_SIZES[0])
        for size in SAC_SIZES[: 1 if setting.quick else None]
    ]


def _sac(
    setting: Setting, hidden_sizes: tuple[int, ...], batch_size: int, *, is_small: bool
) -> Comparison:
    device, generator = setting.device, setting.generator()
    size, replay = (hidden_sizes, batch_size), stored_steps(generator)

    def make() -> Made:
        agent, run = our_sac(*size, device)
        return agent, partial(run, 1)

    plain = PlainSAC(make()[0].config, DIMS, device)
    official, notes = _official(
        setting, "bpref", lambda checkout: official_bpref.sac_updates(checkout, *size, replay)
    )
    return Comparison(
        method="SAC / PEBBLE",
        case=f"{len(hidden_sizes)}x{hidden_sizes[0]}, batch {batch_size}",
        make=make,
        others={
            **official,
            "plain torch": repeated(lambda: plain.update(replay.sample(batch_size, generator))),
            "stable-baselines3": baseline_sac(*size, device),
        },
        compiles=is_small,
        notes=notes,
        is_heavy=not is_small,
    )


def ensemble(setting: Setting) -> list[Comparison]:
    """Compare a pass of the reward ensemble over labelled pairs."""
    number, generator = FEW_PAIRS if setting.quick else PAIRS, setting.generator()
    labelled = reward.Labelled.make(number, SEGMENT_STEPS, generator)
    given = (labelled.inputs, labelled.queries.labels)

    def make() -> Made:
        learner = reward.make_learner(1, generator)
        return learner, lambda: learner.fit(labelled.queries, labelled.replay, generator)

    official, notes = _official(
        setting, "bpref", lambda checkout: official_bpref.reward_training(checkout, *given)
    )
    steps = math.ceil(number / reward.BATCH_SIZE)
    case = f"{reward.NUM_MEMBERS} members, {number:,} pairs of {SEGMENT_STEPS}, {steps} steps"
    plain = {"plain torch": reward.train_in_a_loop(labelled, 1)}
    return [
        Comparison(
            method="reward ensemble",
            case=case,
            make=make,
            others=official | plain,
            batch=labelled.inputs,
            num_steps=steps,
            notes=notes,
            is_heavy=True,
        )
    ]


def relabelling(setting: Setting) -> list[Comparison]:
    """Compare the pass that gives stored steps the mean reward of the ensemble."""
    number, device = FEW_EPISODES if setting.quick else EPISODES, setting.device
    replay = stored_episodes(number, device=device)

    def make() -> Made:
        model = reward.make_ensemble(device)
        return model, lambda: replay.relabel(model.mean_reward)

    mean_in_a_loop = reward.reward_in_a_loop(device)
    official, notes = _official(
        setting, "bpref", lambda checkout: official_bpref.relabelling(checkout, replay)
    )
    return [
        Comparison(
            method="relabelling",
            case=f"{reward.NUM_MEMBERS} members, {replay.num_steps:,} steps",
            make=make,
            others=official | {"plain torch": repeated(lambda: replay.relabel(mean_in_a_loop))},
            batch=replay.all_observations(),
            notes=notes,
        )
    ]


def cpl(setting: Setting) -> list[Comparison]:
    """Compare CPL on preferences."""
    size = offline_agents.CPL_SIZES[-1 if setting.quick else 0]
    return [_offline(setting, "CPL", size, "cpl", offline_agents.build_cpl, PlainCPL)]


def ipl(setting: Setting) -> list[Comparison]:
    """Compare IPL on IQL."""
    size = offline_agents.IPL_SIZES[0]
    return [_offline(setting, "IPL", size, "ipl", offline_agents.build_ipl, PlainIPL)]


def iql(setting: Setting) -> list[Comparison]:
    """Compare IQL on given rewards, the policy of P-IQL."""
    size = offline_agents.IQL_SIZES[0]
    return [_offline(setting, "IQL", size, "ipl", offline_agents.build_iql, PlainIQL)]


def _offline(  # noqa: PLR0913
    setting: Setting, method: str, size: Size, program: str, build: Build, plain: Any
) -> Comparison:
    size = replace(size, device=setting.device)
    contest = build(size, None)
    other = plain(contest.agent.config, (size.observation_dim, size.action_dim), setting.device)

    def make() -> Made:
        agent = build(size, None).agent
        return agent, lambda: agent.update(contest.batch)

    def official_run(checkout: Path) -> Run:
        step = build(size, checkout).step
        assert step is not None  # there is a checkout
        return repeated(step)

    official, notes = _official(setting, program, official_run)
    return Comparison(
        method=method,
        case=size.case(),
        make=make,
        others=official | {"plain torch": repeated(lambda: other.update(contest.batch))},
        batch=contest.batch,
        compiles=True,
        notes=notes,
    )


def oppo(setting: Setting) -> list[Comparison]:
    """Compare OPPO."""
    config = sequence_agents.RELEASED_OPPO
    make, build = sequence_agents.make_oppo, sequence_agents.their_oppo
    return [_sequence(setting, "OPPO", config, make, build)]


def dtr(setting: Setting) -> list[Comparison]:
    """Compare DTR; left out when there is no time."""
    config = sequence_agents.RELEASED_DTR
    make, build = sequence_agents.make_dtr, sequence_agents.their_dtr
    return [] if setting.quick else [_sequence(setting, "DTR", config, make, build)]


def _sequence(setting: Setting, method: str, config: Any, make_case: Any, build: Any) -> Comparison:
    case, first, batch = make_case(config, device=setting.device)

    def make() -> Made:
        _, agent, _ = make_case(config, device=setting.device)
        return agent, lambda: agent.update(batch)

    official, notes = _official(
        setting, method.lower(), lambda checkout: repeated(build(checkout, first, batch))
    )
    return Comparison(
        method=method,
        case=case,
        make=make,
        others=official,
        batch=batch,
        notes=(*notes, "plain torch: the official program is that already"),
        is_heavy=True,
    )


def taco_on_drqv2(setting: Setting) -> list[Comparison]:
    """Compare TACO on images."""
    number = FEW_IMAGES if setting.quick else IMAGES
    _, _, batch = taco.make_taco(setting.device, number)
    plain = PlainTaco(taco.CONFIG, ACTION_DIM, setting.device)

    def make() -> Made:
        agent, _, _ = taco.make_taco(setting.device, number)
        return agent, lambda: agent.update(batch)

    shape = "x".join(map(str, taco.CONFIG.encoder.image_shape))
    return [
        Comparison(
            method="TACO",
            case=f"batch {number}, {shape}",
            make=make,
            others={"plain torch": repeated(lambda: plain.update(batch))},
            batch=batch,
            notes=("official: its program has no adapter here",),
            is_heavy=True,
        )
    ]


def _official(
    setting: Setting, name: str, build: Callable[[Path], Run]
) -> tuple[dict[str, Run], tuple[str, ...]]:
    """Return the official program as a contender, or why it is none."""
    checkout = setting.checkouts.get(name)
    if checkout is None:
        return {}, (f"official: no --{name}-checkout",)
    return {"official": build(checkout)}, ()


METHODS: Mapping[str, Callable[[Setting], list[Comparison]]] = {
    "sac": sac,
    "ensemble": ensemble,
    "relabelling": relabelling,
    "cpl": cpl,
    "ipl": ipl,
    "iql": iql,
    "oppo": oppo,
    "dtr": dtr,
    "taco": taco_on_drqv2,
}
