"""What becomes of rates with more environments, members, seeds, labels, candidates or steps."""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pbrl.envs
from pbrl.agents.cpl import CPL, CPLConfig
from pbrl.agents.policies import PolicyConfig
from pbrl.agents.sac import SAC, SACConfig
from pbrl.batches import Batch
from pbrl.feedback import Answers, FeedbackStore, LabelledQueries
from pbrl.pairs import LabelledPairs
from pbrl.queries import make_sampler
from pbrl.replay import ReplayBuffer
from pbrl.reward_learning import RewardLearner, RewardLearningConfig
from pbrl.seeds import AgentStack
from speed.curves import Curve, Step
from speed.measure import ACTION_DIM, OBSERVATION_DIM, stored_episodes
from speed.offline_updates import Size, make_batch
from speed.replay import bytes_held
from speed.reward import BATCH_SIZE, Labelled, make_ensemble

ENVIRONMENTS, SEPARATE = (1, 4, 16, 64, 256), (1, 4, 16, 64)
MEMBERS, SEEDS = (1, 3, 9, 27), (1, 2, 4, 8, 16)
LABELS, SPREAD_LABELS = (1_000, 10_000, 100_000, 1_000_000), (100, 1_000, 10_000)
CANDIDATES, SPREAD_CANDIDATES = (1_000, 10_000, 100_000), (300, 1_000, 3_000, 10_000)
STEPS = (10_000, 100_000, 1_000_000)
SEGMENT_STEPS, PAIRS_OF_MEMBERS, RELABELLED = 50, 128, 10  # the last in episodes
EPISODES, MANY_EPISODES = 100, 1_000  # of 1,000 steps
CAPACITY, RETAINED = 10_000, 1_000
PICKED, LABELLED, DRAWN = 100, 100, 96
SEED_SIZE = Size(name="small", hidden_sizes=(256, 256), pairs=32)
BATCH, SMALL = 256, 64  # SMALL is a width as well


def curves(names: tuple[str, ...] = (), beginning: str = "") -> Iterator[Curve]:
    """Yield what is measured, of some axes or of all, and only names that begin so."""
    for axis, parts in AXES.items():
        if not names or axis in names:
            for name, unit, sizes, make in parts():
                if name.startswith(beginning):
                    yield Curve(axis=axis, name=name, unit=unit, sizes=sizes, make=make)


Parts = list[tuple[str, str, tuple[int, ...], Callable[[int], tuple[Step, float]]]]


def environments() -> Parts:
    """Steps of all environments of one process, under random actions."""
    return [
        ("mujoco.rollout, walker-walk", "steps/s", ENVIRONMENTS, _environment("mjx", "rollout")),
        ("dm_control, walker-walk", "steps/s", SEPARATE, _environment("dmc", "official")),
        ("storing their steps", "steps/s", ENVIRONMENTS, _storing),
    ]


def _storing(number: int) -> tuple[Step, float]:
    replay = ReplayBuffer(CAPACITY, OBSERVATION_DIM, ACTION_DIM, num_envs=number)
    observations, actions = torch.zeros(number, OBSERVATION_DIM), torch.zeros(number, ACTION_DIM)
    rewards, never = torch.zeros(number), torch.zeros(number, dtype=torch.bool)
    row = (observations, actions, rewards, rewards, observations, never, never)
    return lambda: replay.add(*row), number


def _environment(source: str, backend: str) -> Callable[[int], tuple[Step, float]]:
    options: dict[str, Any] = {"num_threads": 1} if backend == "rollout" else {}

    def make(number: int) -> tuple[Step, float]:
        env = pbrl.envs.make(f"{source}/walker-walk", number, backend=backend, **options)
        env.reset()
        random = np.random.default_rng(0)
        drawn = random.uniform(-1, 1, (number, ACTION_DIM)).astype(np.float32)
        actions = torch.from_numpy(drawn) if backend == "rollout" else drawn
        return lambda: env.step(actions), number

    return make


def members() -> Parts:
    """Steps of reward learning and relabelling, for more members of the ensemble."""
    generator = torch.Generator().manual_seed(0)
    labelled = Labelled.make(PAIRS_OF_MEMBERS, SEGMENT_STEPS, generator)
    replay = stored_episodes(RELABELLED)

    def learn(number: int) -> tuple[Step, float]:
        learner = RewardLearner(RewardLearningConfig(), make_ensemble(num_members=number))
        given = (labelled.queries, labelled.replay, generator)
        return lambda: learner.fit(*given, max_steps=1), 1.0

    def relabel(number: int) -> tuple[Step, float]:
        model = make_ensemble(num_members=number)
        return lambda: replay.relabel(model.mean_reward), replay.num_steps

    name = f"learning from {PAIRS_OF_MEMBERS} pairs of {SEGMENT_STEPS}"
    return [(name, "updates/s", MEMBERS, learn), ("relabelling", "steps/s", MEMBERS, relabel)]


def seeds() -> Parts:
    """Updates of several seeds as one computation; a rate counts those of every seed."""

    def sac(width: int, batch: int, number: int) -> tuple[Step, float]:
        generator = torch.Generator().manual_seed(0)
        config, dims = SACConfig(hidden_sizes=(width, width)), (OBSERVATION_DIM, ACTION_DIM)
        agents = [
            SAC(config, *dims, generator=torch.Generator().manual_seed(seed))
            for seed in range(number)
        ]
        observations = torch.randn(batch, OBSERVATION_DIM, generator=generator)
        actions = 2 * torch.rand(batch, ACTION_DIM, generator=generator) - 1
        zeros = torch.zeros(batch)
        batches = [Batch(observations, actions, zeros, observations, zeros)] * number
        stack = AgentStack(agents)
        return lambda: stack.update(batches), number

    def cpl(number: int) -> tuple[Step, float]:
        policy = PolicyConfig(kind="fixed-variance", hidden_sizes=SEED_SIZE.hidden_sizes)
        config = CPLConfig(policy=policy, pretraining_updates=0, batch_size=SEED_SIZE.pairs)
        dims = (SEED_SIZE.observation_dim, SEED_SIZE.action_dim)
        agents = [
            CPL(config, *dims, generator=torch.Generator().manual_seed(seed))
            for seed in range(number)
        ]
        stack, batches = AgentStack(agents), [make_batch(SEED_SIZE)] * number
        return lambda: stack.update(batches), number

    width = SEED_SIZE.hidden_sizes[0]
    return [
        (f"SAC, 2x{width}, batch {BATCH}", "updates/s", SEEDS, partial(sac, width, BATCH)),
        (f"small SAC, 2x{SMALL}, batch {SMALL}", "updates/s", SEEDS, partial(sac, SMALL, SMALL)),
        (f"CPL, 2x{width}, {SEED_SIZE.pairs} pairs", "updates/s", SEEDS, cpl),
    ]


def labels() -> Parts:
    """What is done with all labels so far: the store, a session of learning, the samplers."""
    replay = stored_episodes(MANY_EPISODES)
    generator = torch.Generator().manual_seed(0)

    def learn(number: int) -> tuple[Step, float]:
        given, learner = queries(replay, number), RewardLearner(_one_step(), make_ensemble())
        return lambda: learner.fit(given, replay, generator, max_steps=1), 1.0

    def draw(number: int) -> tuple[Step, float]:
        pairs = LabelledPairs(queries(replay, number))
        return lambda: pairs.draw(DRAWN, generator), 1.0

    def record(number: int) -> tuple[Step, float]:
        store, one = filled_store(replay, number), torch.zeros(1)
        for _ in range(2):  # the first ones move the full columns to larger ones
            _record_one(store, one)
        return lambda: _record_one(store, one), 1.0

    def save(number: int) -> tuple[Step, float]:
        store, folder = filled_store(replay, number), tempfile.TemporaryDirectory()
        return lambda: store.save(Path(folder.name) / "labels.npz"), 1.0

    def load(number: int) -> tuple[Step, float]:
        store, folder = filled_store(replay, number), tempfile.TemporaryDirectory()
        path = Path(folder.name) / "labels.npz"
        store.save(path)
        # The folder goes with the function that holds it.
        return lambda held=folder: (held, FeedbackStore.load(path)), 1.0

    def spread(number: int) -> tuple[Step, float]:
        sampler, given = make_sampler("k-center"), queries(replay, number).index
        return lambda: sampler(replay, None, PICKED, generator, given), 1.0

    return [
        (f"a session of one update of {BATCH_SIZE} pairs", "times/s", LABELS, learn),
        (f"drawing {DRAWN} pairs", "times/s", LABELS, draw),
        ("recording one answer", "times/s", LABELS, record),
        ("writing the store", "times/s", LABELS, save),
        ("reading the store", "times/s", LABELS, load),
        (f"k-center, {PICKED} of {10 * PICKED:,}", "times/s", SPREAD_LABELS, spread),
    ]


def _one_step() -> RewardLearningConfig:
    return RewardLearningConfig(batch_size=BATCH_SIZE, passes=1, target_accuracy=1.0)


def queries(replay: ReplayBuffer, number: int) -> LabelledQueries:
    """Return so many labelled pairs of random segments."""
    generator = torch.Generator().manual_seed(1)
    index = replay.sample_segments(2 * number, SEGMENT_STEPS, generator).reshape(number, 2)
    given = torch.randint(2, (number,), generator=generator).float()
    return LabelledQueries(index, given, torch.ones(number))


def filled_store(replay: ReplayBuffer, number: int) -> FeedbackStore:
    """Return a store that has so many labels."""
    store, given = FeedbackStore(), queries(replay, number)
    ids = store.ask(given.index, 0)
    store.answer(Answers.of(ids, given.labels, "teacher"))
    return store


def _record_one(store: FeedbackStore, label: torch.Tensor) -> LabelledQueries:
    ids = store.ask(store.index(torch.zeros(1, dtype=torch.int64)), 0)
    store.answer(Answers.of(ids, label, "teacher"))
    return store.labelled()


def candidates() -> Parts:
    """Choosing queries out of more candidates."""
    replay, generator = stored_episodes(EPISODES), torch.Generator().manual_seed(0)
    model, given = make_ensemble(), queries(replay, LABELLED).index

    def choose(name: str, number: int, picked: int) -> tuple[Step, float]:
        sampler = make_sampler(name, candidate_factor=number // picked)
        return lambda: sampler(replay, model, picked, generator, given), 1.0

    return [
        ("disagreement", "times/s", CANDIDATES, lambda n: choose("disagreement", n, PICKED)),
        (
            f"k-center, {PICKED} picked",
            "times/s",
            SPREAD_CANDIDATES,
            lambda n: choose("k-center", n, PICKED),
        ),
    ]


def steps() -> Parts:
    """What is done with a replay that holds more steps."""
    generator, model = torch.Generator().manual_seed(0), make_ensemble()

    def sample(number: int) -> tuple[Step, float]:
        replay = stored_episodes(number // 1_000)
        return lambda: replay.sample(BATCH, generator), 1.0

    def segments(number: int) -> tuple[Step, float]:
        replay = stored_episodes(number // 1_000)
        return lambda: replay.sample_segments(1_000, SEGMENT_STEPS, generator), 1.0

    def relabel(number: int) -> tuple[Step, float]:
        replay = stored_episodes(number // 1_000)
        return lambda: replay.relabel(model.mean_reward), 1.0

    return [
        (f"sampling {BATCH} steps", "times/s", STEPS, sample),
        ("sampling 1,000 segments", "times/s", STEPS, segments),
        ("relabelling all", "times/s", STEPS, relabel),
    ]


AXES: dict[str, Callable[[], Parts]] = {
    "environments": environments,
    "members": members,
    "seeds": seeds,
    "labels": labels,
    "candidates": candidates,
    "replay steps": steps,
}


def memory() -> dict[str, dict[str, float]]:
    """Return bytes per label and per step, of the largest sizes that are measured.

    Keys: what is held; bytes for each; of how many.
    """
    replay = stored_episodes(STEPS[-1] // 1_000)
    number = LABELS[-1]
    store = filled_store(replay, number)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.npz"
        store.save(path)
        file = path.stat().st_size
    learner = bytes_held(queries(replay, number))
    return {
        "label in the store": {"bytes": bytes_held(store) / number, "of": number},
        "label in the file": {"bytes": file / number, "of": number},
        "label for a learner": {"bytes": learner / number, "of": number},
        "label whose steps are overwritten": {"bytes": retained_bytes(), "of": RETAINED},
        "step in the replay": {"bytes": bytes_held(replay) / replay.num_steps, "of": STEPS[-1]},
    }


def retained_bytes() -> float:
    """Return what the replay keeps of a label whose two segments it has overwritten."""
    replay = stored_episodes(EPISODES)
    before = bytes_held(replay)
    index = queries(replay, RETAINED).index
    replay.retain(index)
    num_rows = EPISODES * 1_000
    observations, actions = torch.zeros(1, OBSERVATION_DIM), torch.zeros(1, ACTION_DIM)
    rewards, never = torch.zeros(1), torch.zeros(1, dtype=torch.bool)
    for _ in range(num_rows):
        replay.add(observations, actions, rewards, rewards, observations, never, never)
    return (bytes_held(replay) - before) / RETAINED
