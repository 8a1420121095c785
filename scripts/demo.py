"""A robot learns from preferences: `pbrl train` on one task, with a table, a curve and a video."""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from pbrl.commands.report import report_run
from pbrl.queries.schedules import FeedbackSchedule
from pbrl.training.presets import make_config
from pbrl.training.result import Result, final_score
from pbrl.training.run import train

RECORDS = Path(__file__).parents[1] / "benchmarks" / "results"


def oracle_score(env: str, steps: int) -> float | None:
    """Return what the agent on true reward came to after so many steps of its recorded runs."""
    scores = []
    for path in sorted((RECORDS / "online-cpu").glob("*.json")):
        run = Result.load(path)
        curve = [point for point in run.curve if point[0] <= steps]
        if (run.env, run.agent) == (env, "sac") and curve:
            scores.append(final_score(curve, run.score_evaluations))
    return sum(scores) / len(scores) if scores else None


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="dmc/walker-walk")
    parser.add_argument("--steps", type=int, default=90_000, help="environment steps")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    options = parser.parse_args()

    config = replace(make_config(options.env, "qpa"), steps=options.steps)
    plan = FeedbackSchedule(config.preferences.schedule).plan()
    asked = sum(session.size for session in plan if session.step <= config.steps)
    print(
        f"A simulated teacher compares {asked} pairs of short clips of {config.env}; the agent\n"
        "sees nothing but those answers, never the true reward that the table below reports."
    )
    shutil.rmtree(options.out, ignore_errors=True)
    schedule = replace(config.preferences.schedule, budget=asked)  # all that is seen to be asked
    config = replace(config, preferences=replace(config.preferences, schedule=schedule))
    result = train(config, options.out)
    report_run(options.out, result, video=True, oracle_score=oracle_score(config.env, config.steps))


if __name__ == "__main__":
    main()
