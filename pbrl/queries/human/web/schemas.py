"""What the JSON interface takes and gives; its OpenAPI schema is made of this."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt

from pbrl.queries.human.kinds import FeedbackKind
from pbrl.queries.human.people import MAX_NAME, Role
from pbrl.queries.human.studies import StudyState

MAX_NUMBER = 2**31 - 1
MAX_AHEAD = 3

Number = Annotated[int, Field(ge=1, le=MAX_NUMBER)]
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
Place = Annotated[StrictInt, Field(ge=0, le=MAX_NUMBER)]
Label = Annotated[
    StrictInt | StrictFloat,
    Field(ge=0, le=1, description="0: the first shown is better, 0.5: equal, 1: the second"),
]
Ahead = Annotated[
    int, Field(ge=0, le=MAX_AHEAD, description="queries to hold at once, the later to load ahead")
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class PairAnswer(_Strict):
    """Which of two segments is better."""

    label: Label


class MomentAnswer(_Strict):
    """Which of two segments is better, and the steps that decided, both ends included."""

    label: Label
    moment: Annotated[list[Place], Field(min_length=2, max_length=2)] | None


class RatingAnswer(_Strict):
    """How good a segment is: 0 for the worst class of the study."""

    rating: Place


class RankingAnswer(_Strict):
    """Places of the segments as shown, the best first."""

    ranking: Annotated[list[Place], Field(min_length=2, max_length=9)]


AnswerValue = PairAnswer | MomentAnswer | RatingAnswer | RankingAnswer | None


class Enter(_Strict):
    """The token of an invitation."""

    token: Annotated[str, Field(min_length=1, max_length=200)]


class Entered(BaseModel):
    """Who entered, and which page is theirs."""

    name: str
    role: Role
    page: str


class Progress(BaseModel):
    """How far an annotator is.

    `left` counts queries that this annotator could still be given, those that others hold included.
    """

    answered: int
    left: int


class SegmentView(BaseModel):
    """A segment as it is shown: `clip` is the address of a film (MP4) or of a drawing (PNG)."""

    clip: str
    media: Literal["film", "drawing"]
    num_steps: int


class TaskView(BaseModel):
    """A query to answer; answers speak of its segments in this order."""

    assignment: int
    segments: list[SegmentView]


class Tasks(BaseModel):
    """Queries to answer, the first one first.

    Without tasks `state` says why: "paused" and "closed" are the study's, "waiting" means that
    clips are being drawn, that others hold what is left, or that a run may ask more, "finished"
    that nothing is left.
    """

    state: StudyState | Literal["waiting", "finished"]
    tasks: list[TaskView]
    progress: Progress


class Next(_Strict):
    """How many queries to hold."""

    number: Annotated[int, Field(ge=1, le=MAX_AHEAD)] = 1


class Answer(_Strict):
    """An answer to a query in one's hands.

    `key` names the request: sent again, it is recorded once. `value` is null for "can't tell".
    """

    assignment: Number
    value: AnswerValue
    key: Key
    seconds: Annotated[float, Field(ge=0, le=86_400)] | None = None
    next: Ahead = 0


class Answered(BaseModel):
    """What became of an answer; `tasks` are there if `next` asked for them."""

    recorded: Literal["new", "before"]
    next: Tasks | None


class Undo(_Strict):
    """Takes back one's last answer."""

    key: Key
    next: Ahead = 1


class Undone(BaseModel):
    """The query to answer again, which comes first in `next`; null if there was no answer."""

    assignment: int | None
    next: Tasks | None


class StudyView(BaseModel):
    """What an annotator should know about the study."""

    name: str
    kind: FeedbackKind
    task: str
    instructions: str
    classes: list[str]
    num_segments: int
    frames_per_second: int
    state: StudyState
    person: str
    progress: Progress


class SegmentNumbers(BaseModel):
    """The numbers of a segment."""

    observations: list[list[float]]
    actions: list[list[float]]


class Invitation(_Strict):
    """Whom to invite."""

    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
    role: Literal["annotator", "program"] = "annotator"


class Invited(BaseModel):
    """The link to send, shown this once."""

    name: str
    link: str


class NewState(_Strict):
    """What a study shall be."""

    state: StudyState


class Report(BaseModel):
    """How a study stands, see `pbrl.queries.human.report.StudyReport`."""

    study: str
    state: StudyState
    report: dict[str, Any]


class RunState(BaseModel):
    """How a run stood last, see `pbrl.queries.follower.RunStatus`.

    A point of the curve is a step, the score there, and the queries asked until then.
    """

    name: str
    updated_at: float
    step: int
    steps: int
    num_asked: int
    num_labelled: int
    phase: str
    score_name: str
    curve: list[tuple[int, float, int]]
    is_asking: bool
    is_over: bool


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str | list[dict[str, Any]]
