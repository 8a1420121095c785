"""Learn a reward with Hindsight PRIOR's term at several weights, on what runs have seen.

    pbrl benchmark online-cpu --only.agent pebble --only.seed 0   # leaves the runs
    python benchmarks/hindsight_weight.py
    python benchmarks/hindsight_weight.py --page-only    # the table of the record that is there

What the term is worth without a policy in the way: the steps of a run of PEBBLE are given, and the
labels that it was given. The term has the attention of a world model that learned from these steps,
the same share for every step, or the shares of the true reward. Writes a record and puts its table
into a page.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from records import read_record, write_record
from torch import Tensor

from pbrl.hindsight import HindsightConfig, HindsightPrior
from pbrl.preference import is_correct
from pbrl.randomness import Generators
from pbrl.replay import ReplayBuffer
from pbrl.reward_learning import RewardLearner
from pbrl.rewards import RewardEnsemble
from pbrl.segments import SegmentIndex
from pbrl.training.build import build_loop
from pbrl.training.checkpoint import load_checkpoint
from pbrl.training.config import TrainConfig
from pbrl.training.decode import decode
from pbrl.training.hindsight_presets import SMALL_WORLD
from pbrl.training.online import OnlineLoop
from pbrl.training.preferences import PreferenceReward
from pbrl.training.reward_recovery import STEP_CORRELATION, recovery
from pbrl.training.run_folder import CHECKPOINTS, read_config
from pbrl.training.suite_report import put_on_page
from pbrl.training.tables import markdown

ROOT = Path(__file__).parents[1]
SUITE = ROOT / "runs" / "suites" / "online-cpu"
RUNS = (
    SUITE / "dmc-cartpole-swingup_pebble_0",
    SUITE / "metaworld-window-close-v3_pebble_0",
)
STEPS = 50
NUM_UNSEEN, LATE_EPISODES = 500, 10
PURPOSES = ("unseen", "initial", "learning")
Importance = Literal["attention", "uniform", "true"]
Arm = tuple[float, Importance]  # weight of the term, and what it has
ARMS: tuple[Arm, ...] = (
    (0.0, "attention"),
    (0.1, "attention"),
    (1.0, "attention"),
    (10.0, "attention"),
    (10.0, "uniform"),
    (1.0, "true"),
    (10.0, "true"),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure and where to write it.

    Attributes:
        runs: folders of runs of PEBBLE.
        seeds: of networks and world models.
        updates: of each world model.
        record: JSON file of the figures.
        page: page that holds their table.
        page_only: make the table from the record there is.
    """

    runs: tuple[Path, ...] = RUNS
    seeds: int = 3
    updates: int = 3_000
    record: Path = ROOT / "benchmarks" / "results" / "hindsight-weight.json"
    page: Path = ROOT / "docs" / "credit-and-transfer.md"
    page_only: bool = False


class GivenPrior(HindsightPrior):
    """Shares that are not read from attention: the same for every step, or its true reward's."""

    is_true = False

    def importance(self, index: SegmentIndex, replay: ReplayBuffer) -> Tensor:
        """Return the share of each step in its segment."""
        paid = replay.gather(index).true_rewards.clamp(min=0.0)
        shares = paid if self.is_true else torch.ones_like(paid)
        total = shares.sum(-1, keepdim=True)
        return torch.where(total > 0, shares / total, 1.0 / paid.shape[-1])


class TruePrior(GivenPrior):
    """Shares of the true reward."""

    is_true = True


PRIORS: Mapping[Importance, type[HindsightPrior]] = {
    "attention": HindsightPrior,
    "uniform": GivenPrior,
    "true": TruePrior,
}


def make_prior(
    replay: ReplayBuffer, arm: Arm, generator: torch.Generator, updates: int = 1
) -> HindsightPrior:
    """Return the prior of an arm for a run's steps, its world model untrained."""
    world = replace(SMALL_WORLD, max_steps=STEPS, initial_updates=updates)
    config = HindsightConfig(weight=arm[0], world=world)
    return PRIORS[arm[1]](config, *_dims(replay), generator=generator)


def learn_world(replay: ReplayBuffer, seed: int, updates: int) -> tuple[dict[str, Any], float]:
    """Return a world model that learned from all steps, and how much its attention tells.

    That is the share of the variance of alpha that the place in the segment does not explain.
    """
    generators = Generators(seed, PURPOSES)
    prior = make_prior(replay, (1.0, "attention"), generators["initial"], updates)
    prior.world.fit(replay, STEPS)
    index = replay.sample_segments(NUM_UNSEEN, STEPS, generators["unseen"])
    alpha = prior.importance(index, replay)
    return prior.state_dict(), float(alpha.var(0).mean() / alpha.var())


def measure(run: OnlineLoop, arm: Arm, seed: int, world: dict[str, Any]) -> dict[str, float]:
    """Return what a learned reward came to; all arms have the same labels and unseen pairs."""
    generators = Generators(seed, PURPOSES)
    replay, source = run.replay, run.source
    assert isinstance(source, PreferenceReward)  # PEBBLE's
    config = source.learner.ensemble.config
    ensemble = RewardEnsemble(config, *_dims(replay), generator=generators["initial"])
    prior = make_prior(replay, arm, generators["initial"])
    prior.load_state_dict(world)
    learning = replace(source.learner.config, hindsight=prior.config if arm[0] else None)
    learner = RewardLearner(learning, ensemble, generators["initial"])
    learner.hindsight = prior if arm[0] else None
    learner.fit(source.feedback.labelled(), replay, generators["learning"])
    found: dict[str, float] = {}
    for name, episodes in (("all", None), ("late", LATE_EPISODES)):
        drawn = replay.sample_segments(
            2 * NUM_UNSEEN, STEPS, generators["unseen"], replay.completed_episodes(episodes)
        )
        found |= {f"{name}/{key}": value for key, value in judge(ensemble, replay, drawn).items()}
    return found


def judge(ensemble: RewardEnsemble, replay: ReplayBuffer, drawn: SegmentIndex) -> dict[str, float]:
    """Return the share of pairs put in order, and the correlation of the rewards of their steps."""
    segments = replay.gather(drawn)
    with torch.no_grad():
        learned = ensemble.mean_reward(segments.observations, segments.actions)
    learned_0, learned_1 = learned.sum(-1).chunk(2)
    true_0, true_1 = segments.true_returns().chunk(2)
    right = is_correct(learned_1 - learned_0, (true_1 > true_0).float())
    found = recovery(learned, segments.true_rewards)
    return {"accuracy": float(right.double().mean()), "correlation": found[STEP_CORRELATION]}


def load_loop(folder: Path) -> OnlineLoop:
    """Return the loop of a run as its newest checkpoint has it."""
    config = decode(TrainConfig, read_config(folder), str(folder))
    state, _ = load_checkpoint(folder / CHECKPOINTS, None)
    loop = build_loop(config)
    loop.load_state_dict(state["loop"])
    return loop


def _dims(replay: ReplayBuffer) -> tuple[int, int]:
    seen = replay.gather(replay.sample_segments(1, 1, torch.Generator()))
    return seen.observations.shape[-1], seen.actions.shape[-1]


HEADER = (
    "run",
    "weight",
    "importance",
    "unseen pairs right",
    "correlation",
    "late pairs right",
    "correlation",
)
COLUMNS = ("all/accuracy", "all/correlation", "late/accuracy", "late/correlation")


def table(rows: list[dict[str, Any]]) -> str:
    """Return a markdown table; means over seeds, in parentheses the least of them."""
    kinds = dict.fromkeys((row["run"], row["weight"], row["importance"]) for row in rows)
    lines = []
    for kind in kinds:
        same = [row for row in rows if (row["run"], row["weight"], row["importance"]) == kind]
        cells = [torch.tensor([row[name] for row in same]) for name in COLUMNS]
        run, weight, importance = kind
        lines.append(
            [
                run,
                f"{weight:g}",
                importance if weight else "–",
                *(f"{cell.mean():.2f} ({cell.min():.2f})" for cell in cells),
            ]
        )
    return markdown(HEADER, lines)


def write_page(record: Mapping[str, Any], page: Path) -> None:
    """Put the table of a record into a markdown page; what else stands there stays."""
    seeds = len({row["seed"] for row in record["rows"]})
    body = (
        f"`python benchmarks/hindsight_weight.py`, {seeds} seeds, the runs' own labels, world "
        f"models of {record['updates']:,} updates; pairs of all segments and of those in the last "
        f"{LATE_EPISODES} episodes, and the correlation of learned and true rewards on their "
        f"steps; in parentheses the least of the seeds.\n\n{table(record['rows'])}"
    )
    put_on_page(page, "hindsight-weight", body, heading="# Credit\n")


def main(options: Options) -> None:
    """Learn with every weight and importance."""
    torch.set_num_threads(1)
    if options.page_only:
        write_page(read_record(options.record), options.page)
        return
    rows: list[dict[str, Any]] = []
    for folder, seed in product(options.runs, range(options.seeds)):
        run = load_loop(folder)
        world, share = learn_world(run.replay, seed, options.updates)
        for arm in ARMS:
            kind = {"run": folder.name, "weight": arm[0], "importance": arm[1], "seed": seed}
            found = measure(run, arm, seed, world)
            rows.append({**kind, **found, "alpha_beside_place": share})
            print(rows[-1], flush=True)
        record = write_record(options.record, updates=options.updates, rows=rows)
        write_page(record, options.page)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
