"""Collecting a dataset: from policies to a Minari dataset, resumable at any moment."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pbrl import envs
from pbrl.envs.vector import SerialVectorEnv
from pbrl.offline.collect.actors import Actor
from pbrl.offline.collect.collector import collect_episodes
from pbrl.offline.collect.episode_files import EpisodeFiles
from pbrl.offline.collect.episodes import Episode, Job
from pbrl.offline.collect.ledger import Ledger
from pbrl.offline.collect.minari_writer import METADATA_KEY, write_minari
from pbrl.offline.collect.recorded import recorded_episodes
from pbrl.offline.collect.sources import Source, quotas
from pbrl.offline.load import load_dataset
from pbrl.offline.matching import check_matches
from pbrl.training.actors import load_actor
from pbrl.training.collect_config import CollectConfig
from pbrl.training.collect_record import describe, minari_fields, outcome, references
from pbrl.training.progress import Progress
from pbrl.training.run_folder import RunFolder

EPISODES = "episodes"
WORK_SUFFIX = ".collecting"


def collect(config: CollectConfig, root: Path, name: str, *, resume: bool = False) -> Path:
    """Collect a dataset and return its folder, `root/name`.

    Until it is complete the episodes lie beside it in `root/name.collecting`, one file each. A
    process stopped at any moment loses the episodes in progress and nothing else.

    Args:
        config: what to collect.
        root: folder of datasets, Minari's `MINARI_DATASETS_PATH`.
        name: Minari's name of the dataset, with its version.
        resume: go on with the collection that was interrupted; the configuration must be the same.

    Raises:
        FileExistsError: if there is such a dataset, or one is being collected and `resume` is not
            set.
        FileNotFoundError: if there is none to resume, or a policy is not there.
        ValueError: if a policy does not fit the environment, or the configuration cannot work.
        KeyboardInterrupt: on Ctrl-C; `resume` goes on from there.
    """
    folder = root / name
    if folder.exists():
        raise FileExistsError(f"there is a dataset in {folder}; choose another name or root")
    collection = _Collection(config)
    try:
        with RunFolder(folder.with_name(folder.name + WORK_SUFFIX), config, resume=resume) as work:
            work.begin()  # policies and environments are there
            files = EpisodeFiles(work.path / EPISODES)
            collection.run(files)
            collection.write(files, folder, name)
            shutil.rmtree(work.path)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; go on with --resume") from None
    finally:
        collection.env.close()
    return folder


class _Collection:
    """The environments and the actors of a collection."""

    def __init__(self, config: CollectConfig) -> None:
        self.config = config
        self.env = _make_env(config)
        self.actors: list[Actor | list[Episode]] = []  # or what was recorded
        self.records: list[dict[str, Any]] = []
        self.budgets = quotas(config.sources, config.budget)
        for source, budget in zip(config.sources, self.budgets, strict=True):
            if source.is_replay:
                self.actors.append(_recorded(source, budget, self.env, config.unit))
                self.records.append({})
            else:
                actor, record = load_actor(source, self.env)
                self.actors.append(actor)
                self.records.append(record)
        self.warm_up = load_actor(config.warm_up, self.env)[0] if config.warm_up else None
        self.ledgers: list[Ledger] = []

    def run(self, files: EpisodeFiles) -> None:
        """Collect every episode that is not there yet."""
        config = self.config
        for place, budget in enumerate(self.budgets):
            found = files.lengths(place)
            self.ledgers.append(Ledger(budget, counts_steps=config.unit == "steps", found=found))
        title = f"{config.env}, seed {config.seed}"
        with Progress(config.budget, title=title, start_step=self._done(), unit=config.unit) as bar:
            bar.update(self._done())  # episodes end several at once: their time counts from here
            for place, source in enumerate(config.sources):
                for number, episode in self._episodes(place):
                    files.save(place, number, episode)
                    self.ledgers[place].add(number, 0 if episode is None else len(episode))
                    bar.update(self._done(), phase=str(source))

    def _done(self) -> int:
        return sum(ledger.done for ledger in self.ledgers)

    def _episodes(self, place: int) -> Iterator[tuple[int, Episode | None]]:
        """Collect the missing episodes of one source."""
        actor, ledger, config = self.actors[place], self.ledgers[place], self.config

        def next_job() -> Job | None:
            number = ledger.next_number()
            if number is None:
                return None
            return Job(
                source=place, number=number, seed=config.seed, max_warm_up=config.warm_up_steps
            )

        if isinstance(actor, list):
            while (number := ledger.next_number()) is not None:
                yield number, actor[number]
            return
        for job, episode in collect_episodes(
            self.env, actor, next_job, warm_up=self.warm_up, keep_states=config.keep_states
        ):
            yield job.number, episode

    def write(self, files: EpisodeFiles, folder: Path, name: str) -> None:
        """Write the dataset."""
        chosen = [ledger.chosen() for ledger in self.ledgers]
        metadata = describe(
            self.config,
            self.env,
            sources=[
                record | outcome(files.load(place, number) for number in numbers)
                for place, (record, numbers) in enumerate(zip(self.records, chosen, strict=True))
            ],
            references=references(self.config, self.env),
        )

        def episodes() -> Iterator[tuple[Episode, dict[str, Any]]]:
            for place, numbers in enumerate(chosen):
                for number in numbers:
                    episode = files.load(place, number)
                    assert episode is not None
                    yield episode, {"source": place, "number": number}

        write_minari(
            folder,
            name,
            episodes(),
            self.env,
            minari_fields(metadata) | {METADATA_KEY: metadata},
        )


def _make_env(config: CollectConfig) -> SerialVectorEnv:
    """Return the official environments: an episode must depend on its seed alone."""
    options: dict[str, Any] = {}
    if config.goal_visible:
        options["goal_visible"] = True
    if config.max_episode_steps is not None:
        options["max_episode_steps"] = config.max_episode_steps
    env = envs.make(config.env, config.num_envs, backend="official", **options)
    assert isinstance(env, SerialVectorEnv)
    limit = env.record.max_episode_steps
    if limit is None:
        env.close()
        raise ValueError(f"{config.env} has no time limit: give max_episode_steps")
    if config.warm_up_steps >= limit:
        env.close()
        raise ValueError(
            f"warm_up_steps must be less than an episode of {config.env}, "
            f"{limit} steps, got {config.warm_up_steps}"
        )
    return env


def _recorded(source: Source, budget: int, env: SerialVectorEnv, unit: str) -> list[Episode]:
    """Return the episodes of a replay buffer.

    Raises:
        ValueError: if they are of another environment, or fewer than asked for.
    """
    dataset = load_dataset(source.recording)
    check_matches(dataset, env)
    episodes = recorded_episodes(dataset)
    held = len(episodes) if unit == "episodes" else sum(map(len, episodes))
    if held < budget:
        raise ValueError(
            f"{source.policy} holds {held} {unit}, fewer than the {budget} asked for: lower "
            f"--{unit}, or the source's share where there are others"
        )
    return episodes
