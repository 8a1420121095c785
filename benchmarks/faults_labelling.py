"""Kill the labelling server, and a run that learns from people, again and again; count the labels.

    python benchmarks/faults_labelling.py --kills 50

First the server: eight programs label at once over HTTP, a share of their answers sent twice, and
the server is ended by signal 9 at a random moment and started anew, so many times. Every answer
that was acknowledged must be in the database, none twice. Then the trainer: `pbrl train --teacher
human` is ended by signal 9 at random moments and resumed, so many times, while programs answer;
every third time the server dies with it. No query may be asked twice, and what the run has learned
from in the end must be what was answered. Writes a record.
"""

import math
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from labelling.annotators import Annotators
from labelling.programs import kill, start_program
from labelling.served_study import ServedStudy, write_record

from pbrl.queries.human import StudyConfig
from pbrl.training.checkpoint import load_checkpoint

NO_EXTRAS = {"gold_every": 0, "repeat_every": 0}
QUERIES_PER_RUN, SESSION = 60, 4
DEAF_SECONDS = 120.0  # without an answer; then the kill comes anyway
TRAIN = [
    "gym/Pendulum-v1", "--agent", "pebble", "--teacher", "human", "--study", "bench",
    "--steps", "1500", "--seed-steps", "50", "--batch-size", "16", "--eval-every", "1000",
    "--eval-episodes", "1", "--checkpoint-every", "200", "--log-every", "100",
    "--sac.hidden-sizes", "16", "16", "--updates-per-step", "0.1",
    "--preferences.schedule.budget", str(QUERIES_PER_RUN),
    "--preferences.schedule.session-size", str(SESSION),
    "--preferences.schedule.first-step", "250", "--preferences.schedule.interval", "50",
    "--preferences.sampler.segment-length", "10",
    "--preferences.learning.steps-per-label", "5", "--preferences.learning.batch-size", "8",
    "--preferences.reward.hidden-sizes", "16", "16", "--preferences.warm-up-updates", "1",
    "--preferences.patience.labels-per-session", "2", "--preferences.patience.poll-every", "5",
    "--preferences.patience.poll-seconds", "0.05", "--preferences.patience.max-open", "8",
]  # fmt: skip


def main(
    *,
    kills: int = 50,
    parts: tuple[str, ...] = ("server", "trainer"),
    at_once: int = 5,
    seed: int = 0,
    minutes: float = 60.0,
    output: Path | None = None,
) -> None:
    """Kill, count, and write the record.

    Args:
        kills: of each part.
        parts: whom to kill.
        at_once: studies of a part that go on side by side, each with its share of the kills.
        seed: of the moments.
        minutes: after which no more is killed; the record says how often it was.
        output: JSON file; benchmarks/results/labelling/faults.json when not given.
    """
    started = time.monotonic()
    until = time.time() + 60 * minutes
    shares = [kills // at_once + (number < kills % at_once) for number in range(at_once)]
    jobs = [(part, share, seed + number) for part in parts for number, share in enumerate(shares)]
    with ProcessPoolExecutor(len(jobs), multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(_work, *zip(*jobs, strict=True), [until] * len(jobs)))
    found = {
        part: total([one for job, one in zip(jobs, results, strict=True) if job[0] == part])
        for part in parts
    }
    found["seconds"] = round(time.monotonic() - started)
    write_record("faults", output, found)
    if any(found[part][name] for part in parts for name in ("lost", "twice", "errors")):
        sys.exit("labels were lost, or there twice")


def total(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the sum of what several studies came to."""
    return {"studies": len(results)} | {
        name: sum((one[name] for one in results), [] if name == "errors" else 0)
        for name in results[0]
    }


def _work(part: str, kills: int, seed: int, until: float) -> dict[str, Any]:
    os.setsid()
    plan = Plan(kills, until)
    programs = {"server": kill_server, "trainer": kill_trainer}
    with tempfile.TemporaryDirectory() as folder:
        return programs[part](Path(folder), plan, random.Random(seed))


@dataclass
class Plan:
    """How many kills are left.

    Attributes:
        left: how many.
        until: seconds since 1970, after which there are no more.
        done: how many there were.
    """

    left: int
    until: float = math.inf
    done: int = 0

    @property
    def is_over(self) -> bool:
        """Whether there are no more."""
        return self.left <= 0 or time.time() > self.until

    def count(self) -> None:
        """Count a kill."""
        self.left -= 1
        self.done += 1


def kill_server(
    folder: Path, plan: Plan, rng: random.Random, num_queries: int = 1_500
) -> dict[str, Any]:
    """Kill the server while eight programs label; return what became of their answers."""
    people = [f"program {number}" for number in range(8)]
    served = ServedStudy(folder, people, StudyConfig(labels_per_query=8, **NO_EXTRAS))
    served.ask(num_queries)
    served.start()
    with Annotators(served.url, served.tokens, lambda *_: {"label": 1.0}) as annotators:
        while not plan.is_over:
            before = annotators.num_acknowledged
            _wait_for(lambda before=before: annotators.num_acknowledged > before)
            time.sleep(rng.random())
            served.kill()
            plan.count()
            served.start()
        before = annotators.num_acknowledged
        _wait_for(lambda: annotators.num_acknowledged > before)
    found = account(served, annotators)
    served.close()
    return {"kills": plan.done, **found}


def kill_trainer(folder: Path, plan: Plan, rng: random.Random) -> dict[str, Any]:
    """Kill runs that learn from programs, and now and then the server with them.

    A run that came to its end is followed by another one on the same study.
    """
    people = [f"program {number}" for number in range(3)]
    served = ServedStudy(folder / "studies", people, StudyConfig(**NO_EXTRAS))
    served.start()
    runs, errors = [], []
    with served.showing(), Annotators(served.url, served.tokens, _random_judge(rng)) as annotators:
        while not runs or not plan.is_over:
            out = folder / f"run-{len(runs)}"
            _kill_and_resume(out, served, annotators, rng, plan)
            runs.append(out)
    found = account(served, annotators)
    asked = [key.split("/")[:2] for key in served.query_keys()]
    twice = sum(number > 1 for number in Counter(map(tuple, asked)).values())
    for out in runs:
        errors += compare(out, served)
    served.close()
    return {
        "kills": plan.done,
        "runs": len(runs),
        **found,
        "queries": len(asked),
        "twice": found["twice"] + twice,
        "errors": found["errors"] + errors,
    }


def account(served: ServedStudy, annotators: Annotators) -> dict[str, Any]:
    """Compare what was acknowledged with what the database holds."""
    rows = served.answers()
    keys = Counter(row["key"] for row in rows)
    assignments = Counter(row["assignment"] for row in rows)
    return {
        "acknowledged": annotators.num_acknowledged,
        "stored": len(rows),
        "lost": sum(key not in keys for key in annotators.acknowledged),
        "twice": sum(number > 1 for number in [*keys.values(), *assignments.values()]),
        "errors": annotators.errors,
    }


def compare(out: Path, served: ServedStudy) -> list[str]:
    """Return what a run has learned from that was not answered, or the other way round."""
    source = load_checkpoint(out / "checkpoint", None)[0]["loop"]["source"]
    feedback, rows = source["feedback"], source["teacher"]["rows"]
    learned = Counter(
        (row, label)
        for row, label in zip(
            feedback["answered"].tolist(), feedback["labels"].tolist(), strict=True
        )
    )
    given = Counter(
        (rows[row["query"]], row["value"]["label"])
        for row in served.answers()
        if row["query"] in rows
    )
    # What was answered after the run's last look stays in the study and is no error.
    missing = learned - given
    doubled = [one for one, number in learned.items() if number > 1]
    unread = sum((given - learned).values())
    errors = [f"{out.name} learned {one}, which nobody said" for one in missing]
    errors += [f"{out.name} learned {one} twice" for one in doubled]
    if unread > 2 * SESSION:
        errors.append(f"{out.name} never saw {unread} answers")
    if len(rows) > QUERIES_PER_RUN:
        errors.append(f"{out.name} asked {len(rows)} queries of {QUERIES_PER_RUN}")
    return errors


def _random_judge(rng: random.Random) -> Any:
    return lambda *_: {"label": rng.choice([0.0, 0.5, 1.0])}


def _kill_and_resume(
    out: Path, served: ServedStudy, annotators: Annotators, rng: random.Random, plan: Plan
) -> None:
    """Start a run, kill it and resume it until it comes to its end."""
    while True:
        words = [*TRAIN, "--studies", str(served.place.studies), "--out", str(out)]
        words += ["--resume"] if (out / "config.json").exists() else []
        if not (out / "config.json").exists():
            shutil.rmtree(out, ignore_errors=True)  # killed before it was a run
        process = start_program("train", *words)
        if plan.is_over:
            process.join()
        before = annotators.num_acknowledged
        _wait_for(
            lambda process=process, before=before: (
                annotators.num_acknowledged > before or process.exitcode is not None
            )
        )
        process.join(rng.random())
        if process.exitcode is not None:
            if process.exitcode != 0:
                raise RuntimeError(f"the run ended with {process.exitcode}")
            return
        kill(process)
        plan.count()
        if plan.done % 3 == 0:
            served.kill()
            served.start()


def _wait_for(is_there: Any) -> None:
    deadline = time.monotonic() + DEAF_SECONDS
    while not is_there() and time.monotonic() < deadline:
        time.sleep(0.02)


if __name__ == "__main__":
    tyro.cli(main)
