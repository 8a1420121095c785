"""What a million labels and a thousand machines would need, by arithmetic on measured curves."""

from collections.abc import Mapping, Sequence

from speed.curves import Measured

LABELS, SESSIONS, PASSES = 1_000_000, 1_000, 50
MACHINES, STEPS = 1_000, 1_000_000
MEMBERS, PAIRS = 3, 128  # B-Pref's ensemble and minibatch
BYTES = "bytes"
HEADER = ("what", "needs", "from")

Rows = list[tuple[str, str, str]]
Memory = Mapping[str, Mapping[str, float]]


class Rates:
    """Looks measured rates up.

    Args:
        curves: of one run of the program.
    """

    def __init__(self, curves: Sequence[Measured]) -> None:
        self._curves = curves

    def __call__(self, axis: str, beginning: str, size: int | None = None) -> float:
        """Return a rate of the curve whose name begins so, at a size or at the largest."""
        curve = self._find(axis, beginning)
        return curve.rates[-1 if size is None else curve.sizes.index(size)]

    def largest(self, axis: str, beginning: str) -> int:
        """Return the largest size of a curve."""
        return self._find(axis, beginning).sizes[-1]

    def _find(self, axis: str, beginning: str) -> Measured:
        (curve,) = (
            curve
            for curve in self._curves
            if curve.axis == axis and curve.name.startswith(beginning)
        )
        return curve


def million_labels(rates: Rates, memory: Memory) -> Rows:
    """Return what a million labels need in one process, on one thread."""
    held = {name: value[BYTES] for name, value in memory.items()}
    store, learner = held["label in the store"], held["label for a learner"]
    kept, step = held["label whose steps are overwritten"], held["step in the replay"]
    file = held["label in the file"]
    writing, reading = rates("labels", "writing"), rates("labels", "reading")
    recording, start = 1 / rates("labels", "recording"), 1 / rates("labels", "a session")
    update = 1 / rates("members", "learning", MEMBERS)
    of_pass = update * LABELS / PAIRS
    relabelling = 1 / rates("replay steps", "relabelling")
    candidates = rates.largest("candidates", "disagreement")
    spread, most = 1 / rates("labels", "k-center"), rates.largest("labels", "k-center")
    spread_all = spread * LABELS / most
    in_sessions = of_pass * SESSIONS / 2
    return [
        (
            "the labels in memory",
            f"{_size(store * LABELS)}, and {_size(learner * LABELS)} as a learner sees them",
            f"{store:.0f} + {learner:.0f} bytes each",
        ),
        ("the label file", _size(file * LABELS), f"{file:.0f} bytes each"),
        ("a million steps behind them", _size(step * STEPS), f"{step:.0f} bytes each"),
        (
            "labels whose steps the replay has overwritten",
            _size(kept * LABELS),
            f"{kept:,.0f} bytes each",
        ),
        ("writing the file", _time(1 / writing), "measured"),
        ("reading it", _time(1 / reading), "measured"),
        (
            "recording them one by one",
            _time(recording * LABELS),
            f"{_time(recording)} each, at a million",
        ),
        (
            "one pass of the reward over them",
            _time(of_pass),
            f"{_time(update)} for {PAIRS} pairs, {MEMBERS} members",
        ),
        (f"a session of {PASSES} passes", _time(PASSES * of_pass), "as many times that"),
        (
            f"a pass over all so far in each of {SESSIONS:,} sessions",
            _time(in_sessions),
            f"{SESSIONS:,} passes over half of them in the mean",
        ),
        (
            f"a hundredth of a pass in each of {SESSIONS:,} sessions",
            _time(in_sessions / 100 + SESSIONS * start / 2),
            "a hundredth of that, and the starts of the sessions",
        ),
        ("starting a session", _time(start), "measured, an update included"),
        ("relabelling a million steps", _time(relabelling), "measured"),
        (
            f"choosing 100 of {candidates:,} candidates by disagreement",
            _time(1 / rates("candidates", "disagreement")),
            "measured, whatever the labels",
        ),
        (
            "choosing 100 of 1,000 candidates by k-center",
            _time(spread_all),
            f"{_time(spread)} at {most:,} labels, linear",
        ),
        ("choosing 100 of 10,000 by k-center", _time(10 * spread_all), "linear"),
    ]


def thousand_machines(rates: Rates, memory: Memory) -> Rows:
    """Return what a thousand machines would do and need, one thread each."""
    step = memory["step in the replay"][BYTES]
    name, one = "mujoco.rollout", "dm_control"
    worlds = rates.largest("environments", name)
    made, updates = rates("environments", name), rates("seeds", "SAC", 1)
    update, relabelling = 1 / rates("members", "learning", MEMBERS), rates("members", "relab", 3)
    together, alone = rates("environments", "storing"), rates("environments", "storing", 1)
    num_updates = -(-LABELS // (PAIRS * MACHINES))
    return [
        (
            "steps that one thread makes",
            f"{made:,.0f} per second",
            f"{name}, {worlds} worlds of walker-walk; {one} {rates('environments', one, 1):,.0f}",
        ),
        (
            "learners that they feed at one update per step",
            f"{made / updates:,.0f}",
            f"{updates:,.0f} updates of SAC per second",
        ),
        (
            "steps that a thousand make",
            f"{MACHINES * made / 1e6:,.0f} million, {_size(MACHINES * made * step)} per second",
            f"{step:.0f} bytes each",
        ),
        (
            "steps that one replay stores",
            f"{together / 1e6:,.1f} million per second",
            f"{worlds} at once; {alone:,.0f} one by one",
        ),
        (
            "relabelling a thousand million steps, a million on each",
            _time(STEPS / relabelling),
            f"{relabelling:,.0f} steps per second, {MEMBERS} members",
        ),
        (
            f"a pass over a million labels, {PAIRS} pairs per update on each",
            f"{_time(num_updates * update)} and {num_updates} exchanges of gradients",
            f"{_time(update)} each",
        ),
    ]


def _time(seconds: float) -> str:
    units = (
        (365 * 86_400, "years"),
        (86_400, "days"),
        (3_600, "hours"),
        (60, "minutes"),
        (1, "s"),
    )
    for size, name in units:
        if seconds >= 1.5 * size:
            return f"{seconds / size:.2g} {name}"
    return f"{seconds:.2g} s" if seconds >= 0.1 else f"{1e3 * seconds:.2g} ms"


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:,.0f} MB"
