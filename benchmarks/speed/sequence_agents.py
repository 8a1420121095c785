"""Updates of OPPO and DTR, acting with and without a cache, and what windows of a dataset keep."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pbrl.agents.dtr import DTR
from pbrl.agents.dtr_config import DTRConfig
from pbrl.agents.history import ActingHistory
from pbrl.agents.learning_rates import RateSchedule
from pbrl.agents.oppo import OPPO
from pbrl.agents.oppo_config import OPPOConfig
from pbrl.agents.oppo_encoder import PADDED_ACTION
from pbrl.agents.sequence_policy import SequencePolicy, SequencePolicyConfig
from pbrl.offline.dataset import DatasetInfo
from pbrl.offline.windows import WindowSampler
from pbrl.pairs import OfflineBatch, PairBatch
from pbrl.segments import Segments
from pbrl.training.offline_presets import Facts, make_fit_config
from pbrl.transformer import TransformerConfig
from pbrl.windows import WindowBatch, WindowSizes
from speed import official_sequences
from speed.measure import Row, moved, repeated, stored_episodes, time_in_turns

OBSERVATION_DIM, ACTION_DIM = 11, 3  # hopper
LEAST_UPDATES, LEAST_ACTING = 2.0, 3.0
MOST_DIFFERENCE = 1e-5
COMPARED_UPDATES = 4
STILL, RISING_UPDATES = 1e-12, 50  # a rate, and updates over which DTR's coefficient rises
CONTEXT, ACTED_STEPS = 20, 60
NUM_ENVS = (1, 64)
SMALL_FACTS = Facts(
    info=DatasetInfo(name="hopper-medium-replay", family="minari", env="gym/Hopper-v5"),
    segment_steps=50,
    num_labels=2_000,
)
RELEASED_OPPO = OPPOConfig(windows=0, reconstruct_pairs=True, pooling="sum-all")
RELEASED_DTR = DTRConfig()
WINDOW_STEPS = (20, 100)


def oppo_updates(rounds: int, checkout: Path | None) -> list[Row]:
    """Time OPPO's update on 2 x 64 labelled windows, and ours at the size for two cores."""
    rows = _updates("OPPO", make_oppo(RELEASED_OPPO), rounds, checkout, their_oppo)
    if checkout is not None:
        rows.append(oppo_parity(checkout, their_oppo))
    small = make_fit_config("data", "oppo", SMALL_FACTS).method
    made = make_oppo(small, "cpu preset", segment_steps=SMALL_FACTS.segment_steps)
    return rows + _updates("OPPO", made, rounds, None, their_oppo)


def dtr_updates(rounds: int, checkout: Path | None) -> list[Row]:
    """Time DTR's update on 256 windows, and ours at the size for two cores."""
    rows = _updates("DTR", make_dtr(RELEASED_DTR), rounds, checkout, their_dtr)
    if checkout is not None:
        rows.append(dtr_parity(checkout, their_dtr))
    small = make_fit_config("data", "dtr", SMALL_FACTS).method
    return rows + _updates("DTR", make_dtr(small, "cpu preset"), rounds, None, their_dtr)


def _updates(
    name: str, made: tuple[str, Any, OfflineBatch], rounds: int, checkout: Path | None, build: Any
) -> list[Row]:
    case, agent, batch = made
    columns = {"section": f"{name} update", "case": case}
    contenders: dict[str, Any] = {"pbrl": repeated(lambda: agent.update(batch))}
    if checkout is None:
        times = time_in_turns(contenders, rounds)
        note = f"{1 / times['pbrl'].cpu:,.2f} updates/s"
        return [Row(**columns, contender="pbrl", **times["pbrl"].columns(), note=note)]
    difference = largest_difference(*without_dropout(agent, batch), checkout, build)
    contenders = {"official": repeated(build(checkout, agent, batch))} | contenders
    times = time_in_turns(contenders, rounds)
    ratio = times["official"].cpu / times["pbrl"].cpu
    return [
        Row(**columns, contender="official", **times["official"].columns(), ratio=1.0),
        Row(
            **columns,
            contender="pbrl",
            **times["pbrl"].columns(),
            ratio=ratio,
            note=f"{1 / times['pbrl'].cpu:,.2f} updates/s, losses equal to {difference:.0e}",
            aim=f"{LEAST_UPDATES:g}x official, losses equal to {MOST_DIFFERENCE:.0e}",
            is_met=ratio >= LEAST_UPDATES and difference <= MOST_DIFFERENCE,
        ),
    ]


def without_dropout(agent: Any, batch: OfflineBatch) -> tuple[Any, OfflineBatch]:
    """Return an agent of the same kind whose updates draw nothing."""
    none = {"dropout": 0.0, "attention_dropout": 0.0}

    def still(policy: SequencePolicyConfig) -> SequencePolicyConfig:
        return replace(policy, transformer=replace(policy.transformer, **none))

    config = agent.config
    if isinstance(agent, OPPO):
        changed = replace(
            config, policy=still(config.policy), encoder=replace(config.encoder, **none)
        )
        return _agent(OPPO, changed), batch
    imitation = replace(config.imitation, policy=still(config.imitation.policy))
    return _agent(DTR, replace(config, imitation=imitation)), batch


def largest_difference(agent: Any, batch: OfflineBatch, checkout: Path, build: Any) -> float:
    """Return the largest relative difference between losses of the first update."""
    step = build(checkout, agent, batch)
    ours, theirs = agent.update(batch), step()
    return _difference(ours, theirs)


def oppo_parity(checkout: Path, build: Any) -> Row:
    """Compare the losses of OPPO's first updates on windows that are padded in front."""
    case, agent, batch = make_oppo(RELEASED_OPPO)
    made = (f"{case}, padded", agent, padded(batch))
    return _parity("OPPO", made, "losses", checkout, build)


def dtr_parity(checkout: Path, build: Any) -> Row:
    """Compare DTR's first updates on windows that are padded in front or end in a terminal state.

    The critics stand still, so that the value of the policy's actions is compared by the same ones;
    its weight rises at once, and the slow copy of the policy moves before the last update.
    """
    config = replace(
        RELEASED_DTR,
        critic_rate=RateSchedule(peak=STILL),
        coefficient_updates=RISING_UPDATES,
        slow_start=0,
        slow_every=2,
        slow_decay=0.5,
        discard_last=True,
    )
    case, agent, batch = make_dtr(config)
    made = (f"{case}, half of them padded, a third terminal", agent, ended(batch))
    return _parity("DTR", made, "losses and values", checkout, build)


def _parity(
    name: str, made: tuple[str, Any, OfflineBatch], what: str, checkout: Path, build: Any
) -> Row:
    """Compare the first updates without dropout, and say what of them was compared."""
    case, agent, batch = made
    agent, batch = without_dropout(agent, batch)
    step = build(checkout, agent, batch)
    difference = max(_difference(agent.update(batch), step()) for _ in range(COMPARED_UPDATES))
    return Row(
        section=f"{name} update",
        case=case,
        contender="pbrl",
        note=f"{what} of {COMPARED_UPDATES} updates equal to {difference:.0e}",
        aim=f"{what} equal to {MOST_DIFFERENCE:.0e}",
        is_met=difference <= MOST_DIFFERENCE,
    )


def ended(batch: OfflineBatch) -> OfflineBatch:
    """Return windows of which every second has only its last steps, and every third is terminal."""
    windows = batch.windows
    assert windows is not None  # made below
    number, steps = windows.mask.shape
    row = torch.arange(number, device=windows.mask.device)
    padding = (1 + row // 2 % (steps - 1)) * (row % 2)
    mask = torch.arange(steps, device=row.device) >= padding[:, None]
    return replace(
        batch,
        windows=replace(
            windows,
            observations=windows.observations * mask[..., None],
            actions=windows.actions * mask[..., None],
            rewards=windows.rewards * mask,
            returns_to_go=windows.returns_to_go * mask,
            timesteps=windows.timesteps * mask,
            mask=mask,
            terminated=row % 3 == 0,
        ),
    )


def _difference(ours: dict[str, Tensor], theirs: dict[str, float]) -> float:
    return max(abs(float(ours[name]) - value) / abs(value) for name, value in theirs.items())


def padded(batch: OfflineBatch) -> OfflineBatch:
    """Return pairs whose segments are padded in front, by 0 to all but one of their steps.

    The first segments have as many steps as the second: the program takes the mean of the means of
    the two, we the mean of all steps.
    """
    pairs = batch.pairs
    assert pairs is not None and pairs.starts is not None  # noqa: PT018  made below
    steps = pairs.segments.mask.shape[-1]
    padding = torch.arange(len(pairs), device=pairs.starts.device) % steps
    padding = torch.stack([padding, padding.flip(0)], 1)
    mask = torch.arange(steps, device=padding.device) >= padding[..., None]
    actions = pairs.segments.actions * mask[..., None]
    segments = replace(pairs.segments, actions=actions, mask=mask)
    return replace(batch, pairs=replace(pairs, segments=segments, starts=pairs.starts - padding))


def make_oppo(
    config: OPPOConfig,
    name: str = "released",
    device: str = "cpu",
    *,
    segment_steps: int | None = None,
) -> tuple[str, OPPO, OfflineBatch]:
    """Return the name of a case, an agent and a batch for it.

    Segments have as many steps as windows unless their number is given.
    """
    pairs, steps = config.num_pairs, config.policy.context
    of_steps = "" if segment_steps is None else f" of {segment_steps}"
    case = (
        f"{name}: {pairs} pairs{of_steps} and {config.windows} windows of {steps}, "
        f"width {config.policy.transformer.width}"
    )
    generator = torch.Generator().manual_seed(0)
    shape = (pairs, 2, steps if segment_steps is None else segment_steps)
    segments = Segments(
        torch.randn(*shape, OBSERVATION_DIM, generator=generator),
        2 * torch.rand(*shape, ACTION_DIM, generator=generator) - 1,
        torch.ones(shape, dtype=torch.bool),
        torch.zeros(shape),
    )
    labels = torch.randint(2, (pairs,), generator=generator).float()
    starts = torch.randint(900, (pairs, 2), generator=generator)
    batch = OfflineBatch(
        pairs=PairBatch(segments, labels, torch.ones(pairs), starts),
        windows=_windows(config.windows, steps) if config.windows else None,
    )
    return case, _agent(OPPO, config, device), moved(batch, device)


def make_dtr(
    config: DTRConfig, name: str = "released", device: str = "cpu"
) -> tuple[str, DTR, OfflineBatch]:
    """Return the name of a case, an agent and a batch for it."""
    policy, number = config.imitation.policy, config.imitation.batch_size
    case = (
        f"{name}: {number} windows of {policy.context}, width {policy.transformer.width}, "
        f"{policy.transformer.num_layers} layers"
    )
    agent = _agent(DTR, config, device)
    agent.imitator.return_scale = config.imitation.return_scale or 10.0
    windows = _windows(number, policy.context)
    return case, agent, moved(OfflineBatch(windows=windows), device)


def _agent(kind: type[Any], config: Any, device: str = "cpu") -> Any:
    generator = torch.Generator(device).manual_seed(0)
    return kind(config, OBSERVATION_DIM, ACTION_DIM, device=device, generator=generator)


def _windows(number: int, steps: int) -> WindowBatch:
    generator = torch.Generator().manual_seed(1)
    shape = (number, steps)
    start = torch.randint(900, (number, 1), generator=generator)
    return WindowBatch(
        observations=torch.randn(*shape, OBSERVATION_DIM, generator=generator),
        actions=2 * torch.rand(*shape, ACTION_DIM, generator=generator) - 1,
        rewards=torch.randn(shape, generator=generator),
        returns_to_go=10 * torch.randn(shape, generator=generator),
        timesteps=start + torch.arange(steps),
        mask=torch.ones(shape, dtype=torch.bool),
        terminated=torch.zeros(number, dtype=torch.bool),
        rows=torch.zeros(number, dtype=torch.int64),
    )


def their_oppo(checkout: Path, agent: OPPO, batch: OfflineBatch) -> Any:
    """Return a step of OPPO's program on the same batch."""
    pairs = batch.pairs
    assert pairs is not None and pairs.starts is not None  # noqa: PT018  made above
    time = torch.arange(pairs.segments.mask.shape[-1], device=pairs.starts.device)
    mask = pairs.segments.mask
    actions = pairs.segments.actions.masked_fill(~mask[..., None], PADDED_ACTION)
    halves = [
        (
            pairs.segments.observations[:, place],
            actions[:, place],
            (pairs.starts[:, place, None] + time) * mask[:, place],
            mask[:, place],
            pairs.labels if place else 1 - pairs.labels,  # what the better one earns
        )
        for place in range(2)
    ]
    return official_sequences.oppo_step(checkout, agent, halves)


def their_dtr(checkout: Path, agent: DTR, batch: OfflineBatch) -> Any:
    """Return a step of DTR's program on the same batch."""
    windows = batch.windows
    assert windows is not None  # made above
    scaled = windows.returns_to_go / agent.imitator.return_scale
    parts = (windows.observations, windows.actions, windows.rewards, scaled)
    places = (windows.timesteps, windows.mask, windows.terminated)
    return official_sequences.dtr_step(checkout, agent, (*parts, *places))


def acting(rounds: int) -> list[Row]:
    """Time a step of acting at a context of 20, OPPO's size, with the cache and without."""
    config = SequencePolicyConfig(transformer=TransformerConfig(), context=CONTEXT)
    generator = torch.Generator().manual_seed(0)
    policy = SequencePolicy(config, 8, OBSERVATION_DIM, ACTION_DIM, generator=generator)
    rows = []
    for number in NUM_ENVS:
        condition = torch.randn(number, 8, generator=generator)
        seen = torch.randn(ACTED_STEPS, number, OBSERVATION_DIM, generator=generator)
        contenders = {
            name: _episode(policy, condition, seen, cached=name == "cached")
            for name in ("without cache", "cached")
        }
        times = time_in_turns(contenders, rounds)
        slow, fast = (times[name].cpu / ACTED_STEPS for name in contenders)
        columns = {"section": "acting", "case": f"context {CONTEXT}, {number} environments"}
        for name, seconds in (("without cache", slow), ("cached", fast)):
            is_fast = name == "cached"
            rows.append(
                Row(
                    **columns,
                    contender=name,
                    milliseconds=1e3 * times[name].wall / ACTED_STEPS,
                    cpu_milliseconds=1e3 * seconds,
                    ratio=slow / seconds,
                    note="per step of all environments",
                    aim=f"{LEAST_ACTING:g}x without" if is_fast else "",
                    is_met=slow / fast >= LEAST_ACTING if is_fast else None,
                )
            )
    return rows


def _episode(policy: SequencePolicy, condition: Tensor, seen: Tensor, *, cached: bool) -> Any:
    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            history = ActingHistory(policy, cached=cached)
            for observations in seen:
                history.record(history.act(condition, observations))

    return run


def memory(_: int) -> list[Row]:
    """Count the bytes that a sampler of windows keeps beside the dataset, by their length."""
    replay = stored_episodes(20)
    known = {one.untyped_storage().data_ptr() for one in _tensors(replay.state_dict())}
    rows, kept = [], []
    for steps in WINDOW_STEPS:
        sampler = WindowSampler(replay, WindowSizes(number=64, steps=steps))
        sampler.draw(torch.Generator().manual_seed(0))
        own = {
            one.untyped_storage().data_ptr(): one.untyped_storage().nbytes()
            for one in _tensors(vars(sampler))
        }
        number = sum(size for place, size in own.items() if place not in known)
        kept.append(number / replay.num_steps)
        rows.append(
            Row(
                section="memory",
                case=f"windows of {steps} steps",
                contender="pbrl",
                note=f"{kept[-1]:.0f} bytes per step of the dataset beside it",
                aim="no more for longer windows",
                is_met=kept[-1] <= kept[0],
            )
        )
    return rows


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [one for part in value.values() for one in _tensors(part)]
    if isinstance(value, tuple | list):
        return [one for part in value for one in _tensors(part)]
    return _tensors(vars(value)) if hasattr(value, "__dataclass_fields__") else []
