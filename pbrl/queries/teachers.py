"""Teachers: whoever turns queries into labels."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from pbrl.feedback import Answers, Queries, check_answers
from pbrl.lookup import look_up
from pbrl.queries.simulated import TEACHERS, SimulatedTeacher, TeacherConfig
from pbrl.segments import Segments

__all__ = [
    "TEACHERS",
    "CallableTeacher",
    "LabelFunction",
    "LateTeacher",
    "MixtureTeacher",
    "SimulatedTeacher",
    "StatefulTeacher",
    "Teacher",
    "TeacherConfig",
    "as_labels",
    "make_teacher",
    "teacher_kind",
]

LabelFunction = Callable[[Segments], Any]


@runtime_checkable
class Teacher(Protocol):
    """Answers queries, at once or later."""

    def __call__(self, queries: Queries, generator: torch.Generator) -> Answers:
        """Take new queries and return the answers that are ready.

        A late teacher, for instance a person, may return no answers, or answers to queries of an
        earlier call. A call with no queries is a poll: it asks nothing and collects what is ready.
        A teacher that remembers something offers `state_dict` and `load_state_dict` as well.

        Args:
            queries: the questions, perhaps none.
            generator: source of randomness.
        """
        ...


@runtime_checkable
class StatefulTeacher(Teacher, Protocol):
    """A teacher whose memory belongs in a checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


@runtime_checkable
class LateTeacher(StatefulTeacher, Protocol):
    """A teacher outside of the run, whose answers come later and may still change.

    What it was asked must not be forgotten by a crash of the run, or answers would belong to
    nothing. So it keeps new queries to itself until a checkpoint holds them; after a crash the
    queries of the checkpoint are put to it again, and it asks those that it has not asked yet. It
    is polled for as long as the run goes on.
    """

    def saved(self) -> None:
        """Note that a checkpoint holds every query so far: they may be asked now."""
        ...


def make_teacher(teacher: str | TeacherConfig, *, name: str | None = None) -> SimulatedTeacher:
    """Return a simulated teacher.

    Args:
        teacher: a name of `TEACHERS`, or the configuration itself.
        name: annotator id; by default the name in the table, or "simulated".

    Raises:
        ValueError: if the name is unknown, with the nearest ones.
    """
    if isinstance(teacher, TeacherConfig):
        return SimulatedTeacher(teacher, name=name or "simulated")
    return SimulatedTeacher(look_up("teacher", teacher, TEACHERS), name=name or teacher)


class CallableTeacher:
    """Makes a teacher of any function that labels segments.

    Args:
        function: maps segments of shape `[query, 2]` to one label per query, as a tensor, an array
            or a list: the probability that segment 1 (the second) is preferred, 0.5 for a tie, NaN
            or None to skip. It is not called when there are no queries.
        name: annotator id.
    """

    def __init__(self, function: LabelFunction, *, name: str = "callable") -> None:
        self._function = function
        self.name = name

    def __call__(self, queries: Queries, generator: torch.Generator) -> Answers:  # noqa: ARG002
        """Return one answer per query.

        Raises:
            ValueError: if the labels are of the wrong number or type or lie outside [0, 1].
        """
        answered = self._function(queries.segments) if len(queries) else []
        labels = as_labels(answered, len(queries)).to(queries.ids.device)
        answers = Answers.of(queries.ids, labels, self.name)
        check_answers(answers, int(queries.ids.max()) + 1 if len(queries) else 0)
        return answers


def as_labels(labels: object, num_queries: int) -> Float[Tensor, " query"]:
    """Return labels that come from outside as a float32 tensor, None as NaN.

    Args:
        labels: tensor, array or sequence of numbers, one per query.
        num_queries: how many there must be.

    Raises:
        ValueError: if they are not real numbers or not of shape `[num_queries]`. Their range is
            for `pbrl.feedback.check_answers` to judge.
    """
    if isinstance(labels, Tensor):
        tensor = labels.detach()
        kind = str(tensor.dtype)
        is_number = not tensor.is_complex()
    else:
        array = _as_array(labels)
        kind = f"{type(labels).__name__} of {array.dtype}"
        is_number = array.dtype.kind in "biuf"
        tensor = torch.from_numpy(array.astype(np.float32) if is_number else np.zeros(array.shape))
    if not is_number or tensor.shape != (num_queries,):
        raise ValueError(
            f"expected one label per query, {num_queries} real numbers in one dimension; "
            f"the teacher gave {kind}, shape {list(tensor.shape)}"
        )
    return tensor.float()


def _as_array(labels: object) -> NDArray[Any]:
    if isinstance(labels, Sequence) and not isinstance(labels, str):
        labels = [np.nan if label is None else label for label in labels]
    try:
        return np.asarray(labels)
    except ValueError:  # rows of unequal length
        return np.asarray(labels, dtype=object)


class MixtureTeacher:
    """Several teachers, each answering a random share of the queries.

    Every answer carries the annotator id of the teacher who gave it, so give the teachers
    different names. Each teacher is called every time, with no queries when none fell to it, so a
    late one can deliver.

    Args:
        teachers: who answers.
        probabilities: share of each teacher; not negative, summing to one. Equal by default.

    Raises:
        ValueError: if there are no teachers or the probabilities do not fit them.
    """

    def __init__(
        self, teachers: Sequence[Teacher], probabilities: Sequence[float] | None = None
    ) -> None:
        if not teachers:
            raise ValueError("a mixture needs at least one teacher")
        if probabilities is None:
            probabilities = [1 / len(teachers)] * len(teachers)
        self.probabilities = torch.tensor(probabilities, dtype=torch.float64)
        fits = len(probabilities) == len(teachers) and bool((self.probabilities >= 0).all())
        if not (fits and abs(sum(probabilities) - 1) < 1e-6):  # noqa: PLR2004  rounding
            raise ValueError(
                f"a mixture of {len(teachers)} teachers needs as many probabilities, not negative "
                f"and summing to 1, got {list(probabilities)}"
            )
        self.teachers = tuple(teachers)

    def __call__(self, queries: Queries, generator: torch.Generator) -> Answers:
        """Return what the teachers answer, ordered by query."""
        chosen = self._choose(len(queries), generator).to(queries.ids.device)
        parts = [
            teacher(_share(queries, chosen == number), generator)
            for number, teacher in enumerate(self.teachers)
        ]
        ids = torch.cat([part.ids for part in parts])
        order = ids.argsort(stable=True)
        names = [name for part in parts for name in part.annotators]
        return Answers(
            ids[order],
            torch.cat([part.labels for part in parts])[order],
            torch.cat([part.weights for part in parts])[order],
            tuple(names[row] for row in order.tolist()),
        )

    def _choose(self, number: int, generator: torch.Generator) -> Tensor:
        """Return who answers each query; a poll draws nothing."""
        if number == 0:
            return torch.zeros(0, dtype=torch.int64)
        shares = self.probabilities.to(generator.device).expand(number, -1)
        return torch.multinomial(shares, 1, generator=generator)[:, 0]

    def saved(self) -> None:
        """Tell those who answer later that a checkpoint holds every query so far."""
        for teacher in self.teachers:
            if isinstance(teacher, LateTeacher):
                teacher.saved()

    def state_dict(self) -> dict[str, Any]:
        """Return what each teacher remembers, by its position."""
        return {
            str(number): teacher.state_dict()
            for number, teacher in enumerate(self.teachers)
            if isinstance(teacher, StatefulTeacher)
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for number, teacher in enumerate(self.teachers):
            if isinstance(teacher, StatefulTeacher):
                teacher.load_state_dict(state[str(number)])


def teacher_kind(teacher: Teacher) -> str:
    """Return the name of a teacher's class, and of a mixture those of its teachers."""
    name = type(teacher).__name__
    if isinstance(teacher, MixtureTeacher):
        return f"{name}({', '.join(map(teacher_kind, teacher.teachers))})"
    return name


def _share(queries: Queries, mine: Tensor) -> Queries:
    return replace(
        queries,
        ids=queries.ids[mine],
        index=queries.index[mine],
        segments=queries.segments[mine],
    )
