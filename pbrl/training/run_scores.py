"""The evaluations of a run so far, as its result will list them."""

import math
from collections.abc import Mapping
from typing import Any

from pbrl.training.result import Point
from pbrl.training.scoring import Score


class RunScores:
    """Scores and other measurements by step.

    Attributes:
        name: of the score; empty before there is one.
        random: score of a random policy; None where there is no telling.
        curve: step, score and labels asked of every evaluation.
        measures: step and value of the other measurements, by name.
    """

    def __init__(self) -> None:
        self.name = ""
        self.random: float | None = None
        self.curve: list[Point] = []
        self.measures: dict[str, list[tuple[int, float]]] = {}

    def note_random(self, score: Score | None) -> None:
        """Note what a random policy comes to."""
        if score is not None:
            self.name, self.random = score.name, score.value

    def note(self, score: Score, step: int, num_asked: int) -> None:
        """Note an evaluation; a number that is not finite is for the log alone."""
        self.name = score.name
        self.curve.append((step, score.value, num_asked))
        for name, value in score.metrics.items():
            if name != f"eval/{score.name}" and math.isfinite(value):
                self.measures.setdefault(name, []).append((step, value))

    @property
    def latest(self) -> float | None:
        """The last score, if there is one."""
        return self.curve[-1][1] if self.curve else None

    def state_dict(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "curve": self.curve,
            "measures": self.measures,
            "score_name": self.name,
            "random_score": self.random,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.name, self.random = state["score_name"], state["random_score"]
        self.curve = [(step, score, labels) for step, score, labels in state["curve"]]
        self.measures = {
            name: [(step, value) for step, value in points]
            for name, points in state.get("measures", {}).items()  # older ones lack it
        }
