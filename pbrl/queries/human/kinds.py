"""The kinds of feedback that people give, and what an answer of each kind may say.

An answer is a small JSON object, or None where the annotator can't tell:

| kind | segments | answer |
| --- | --- | --- |
| pair | 2 | `{"label": 0, 0.5 or 1}`: the first is better, both are equal, the second is better |
| rating | 1 | `{"rating": i}`, 0 the worst of the study's classes |
| ranking | K | `{"ranking": [place, ...]}`, the best first |
| moment | 2 | `{"label": ..., "moment": [first, last]}`: what decided, in steps, both included |

In the database an answer speaks of the query's own order of segments. An annotator sees them in the
order of the assignment, so that nobody's habit of one side becomes a preference.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from pbrl.feedback import TIE

FeedbackKind = Literal["pair", "rating", "ranking", "moment"]
Value = dict[str, Any] | None

KINDS: tuple[FeedbackKind, ...] = get_args(FeedbackKind)
PAIR_KINDS = ("pair", "moment")
LABELS = (0.0, TIE, 1.0)
_FIELDS: dict[str, set[str]] = {
    "pair": {"label"},
    "rating": {"rating"},
    "ranking": {"ranking"},
    "moment": {"label", "moment"},
}


def check_value(
    kind: FeedbackKind,
    value: object,
    *,
    num_segments: int,
    num_classes: int,
    num_steps: int,
) -> Value:
    """Return an answer in its plain form.

    Args:
        kind: of feedback.
        value: what came.
        num_segments: that the query shows.
        num_classes: that a segment can be rated into.
        num_steps: of the longest segment.

    Raises:
        ValueError: naming what came and what is legal.
    """
    if value is None:
        return None
    fields = _FIELDS[kind]
    if not isinstance(value, Mapping) or not set(value) <= fields:
        raise ValueError(f"an answer of kind {kind} has the fields {sorted(fields)}, got {value!r}")
    match kind:
        case "pair":
            return {"label": _label(value)}
        case "rating":
            return {"rating": _whole("rating", value.get("rating"), num_classes)}
        case "ranking":
            return {"ranking": _ranking(value.get("ranking"), num_segments)}
        case "moment":
            label = _label(value)
            if label == TIE and value.get("moment") is None:
                return {"label": label, "moment": None}
            return {"label": label, "moment": _moment(value.get("moment"), num_steps)}


def to_own_order(kind: FeedbackKind, value: Value, order: Sequence[int]) -> Value:
    """Return an answer about the segments as shown as one about the query's own order.

    Args:
        kind: of feedback.
        value: a checked answer.
        order: the query's place of each segment, in the order shown.
    """
    if value is None or kind == "rating":
        return value
    if kind == "ranking":
        return {"ranking": [order[place] for place in value["ranking"]]}
    is_swapped = list(order) == [1, 0]
    return value | {"label": 1.0 - value["label"] if is_swapped else value["label"]}


def to_shown_order(kind: FeedbackKind, value: Value, order: Sequence[int]) -> Value:
    """Return the reverse of `to_own_order`."""
    places = {own: shown for shown, own in enumerate(order)}
    return to_own_order(kind, value, [places[own] for own in range(len(order))])


def describe(kind: FeedbackKind, value: Value, classes: Sequence[str] = ()) -> str:
    """Return an answer in words, about the query's own order."""
    if value is None:
        return "can't tell"
    match kind:
        case "rating":
            rating = int(value["rating"])
            return classes[rating] if rating < len(classes) else str(rating)
        case "ranking":
            return " > ".join(str(place + 1) for place in value["ranking"])
        case "pair" | "moment":
            words = {0.0: "first", TIE: "equal", 1.0: "second"}[value["label"]]
            moment = value.get("moment")
            return words if moment is None else f"{words}, steps {moment[0]}-{moment[1]}"


def _label(value: Mapping[str, Any]) -> float:
    label = value.get("label")
    if isinstance(label, bool) or not isinstance(label, int | float) or label not in LABELS:
        raise ValueError(
            "label must be 0 (the first is better), 0.5 (equal) or 1 (the second is better), "
            f"got {label!r}"
        )
    return float(label)


def _whole(name: str, number: object, limit: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < limit:
        raise ValueError(f"{name} must be a whole number from 0 to {limit - 1}, got {number!r}")
    return number


def _ranking(ranking: object, num_segments: int) -> list[int]:
    is_list = isinstance(ranking, Sequence) and not isinstance(ranking, str)
    places = list(ranking) if is_list else []  # type: ignore[call-overload]
    if any(isinstance(place, bool) or not isinstance(place, int) for place in places) or (
        sorted(places) != list(range(num_segments))
    ):
        raise ValueError(
            f"ranking must name each of the places 0 to {num_segments - 1} once, the best first, "
            f"got {ranking!r}"
        )
    return places


def _moment(moment: object, num_steps: int) -> list[int]:
    if not isinstance(moment, Sequence) or isinstance(moment, str) or len(moment) != 2:  # noqa: PLR2004
        raise ValueError(f"moment must be two steps, the first and the last, got {moment!r}")
    first, last = (_whole("a step of moment", step, num_steps) for step in moment)
    if first > last:
        raise ValueError(f"moment must not end before it starts, got {[first, last]}")
    return [first, last]
