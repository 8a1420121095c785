"""Records of runs that never were, for tests of what is made from records."""

from pbrl.training.result import Result, final_score


def make_result(scores=(10.0, 20.0, 30.0), **changes):
    """Return a record evaluated every 100 steps, ten labels apart from the second evaluation on."""
    labels = 10 if changes.get("agent") != "sac" else 0
    curve = tuple((100 * (i + 1), float(score), labels * i) for i, score in enumerate(scores))
    fields = {
        "agent": "qpa", "env": "dmc/walker-walk", "seed": 0, "steps": curve[-1][0],
        "labels_asked": curve[-1][2], "labels_given": curve[-1][2], "score_name": "return",
        "score": final_score(curve, 2), "score_evaluations": 2, "curve": curve,
        "random_score": 5.0, "wall_seconds": 1.5, "updates_per_second": 100.0,
        "versions": {"python": "3.11"}, "machine": {"cpu": "x", "cores": 2, "gpu": None},
        "config": {"seed": 0},
    }  # fmt: skip
    return Result(**{**fields, **changes})
