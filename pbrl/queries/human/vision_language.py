"""A vision-language model as an annotator: frames of two clips, a question, an answer.

The model is reached through a chat endpoint of the kind that OpenAI made common
(`POST {url}/chat/completions` with images as data addresses), local or remote. A model that sees
only pictures does not know true rewards, prefers the first of two things more often than it should,
and is sometimes unsure. So each pair is put to it in both orders, and only an answer that both
orders give counts: two that contradict each other are "can't tell".
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pbrl.feedback import TIE
from pbrl.queries.human.client import LabellingClient, ShownClip, Task, Value
from pbrl.queries.human.http import Retries, send

QUESTION = """You compare two short recordings of a robot.
The task of the robot: {task}
{instructions}
First come {frames} frames of recording A in order of time, then {frames} frames of recording B.
Which recording shows the better attempt at the task? Look at what moves and how far it gets.
End with one line that says just one of: ANSWER A, ANSWER B, ANSWER EQUAL, ANSWER UNSURE."""

_ANSWER = re.compile(r"ANSWER[:\s*]+(A|B|EQUAL|UNSURE)\b", re.IGNORECASE)
_LABELS: dict[str, float | None] = {"A": 0.0, "B": 1.0, "EQUAL": TIE, "UNSURE": None}


@dataclass(frozen=True, kw_only=True)
class VisionLanguageConfig:
    """Which model is asked, and how.

    Attributes:
        url: of the endpoint, to which /chat/completions is added.
        model: its name there.
        num_frames: frames of each clip, at even distances, the first and last included.
        max_tokens: of an answer.
        temperature: 0 for the most likely answer.
        swaps: ask in both orders.
        cache: folder that keeps every answer of the model; None keeps nothing. The same question
            is then never paid for twice, also after a crash.
    """

    url: str
    model: str
    num_frames: int = 6
    max_tokens: int = 300
    temperature: float = 0.0
    swaps: bool = True
    cache: Path | None = Path("model-answers")

    def __post_init__(self) -> None:
        for name in ("num_frames", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.temperature <= 2:  # noqa: PLR2004  what endpoints take
            raise ValueError(f"temperature must lie in [0, 2], got {self.temperature}")


class VisionLanguageJudge:
    """Answers queries of pairs by what a model sees in their clips.

    Args:
        config: which model.
        api_key: of the endpoint, if it wants one.
        retries: how often and how long to try.
    """

    def __init__(
        self,
        config: VisionLanguageConfig,
        *,
        api_key: str | None = None,
        retries: Retries | None = None,
    ) -> None:
        self.config = config
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._retries = retries or Retries()
        self._question: str | None = None

    def __call__(self, client: LabellingClient, task: Task) -> Value:
        """Return which clip is better, None for "can't tell".

        Raises:
            ValueError: if the study does not ask about pairs, or the endpoint refuses.
            OSError: if the endpoint does not answer.
        """
        if self._question is None:
            self._question = self._ask_for(client.study())
        clips = [self._pictures(client, segment) for segment in task.segments]
        first = self._answer(clips)
        if not self.config.swaps or first is None:
            return _value(first)
        second = self._answer(clips[::-1])
        agrees = second is not None and first == 1.0 - second
        return _value(first if agrees else None)

    def _ask_for(self, study: dict[str, Any]) -> str:
        if study["kind"] != "pair":
            raise ValueError(f"the model compares pairs, the study asks for {study['kind']}s")
        return QUESTION.format(
            task=study["task"] or "not named",
            instructions=study["instructions"],
            frames=self.config.num_frames,
        )

    def _pictures(self, client: LabellingClient, segment: ShownClip) -> list[str]:
        """Return frames as data addresses; a drawing is one picture."""
        content = client.clip(segment)
        if not segment.is_film:
            return [_data_address(content)]
        return [_data_address(frame) for frame in even_frames(content, self.config.num_frames)]

    def _answer(self, clips: Sequence[Sequence[str]]) -> float | None:
        """Return the label in the order given; None if the model is unsure or says neither."""
        body = self._body(clips)
        text = self._read(body)
        if text is None:
            text = self._complete(body)
            self._keep(body, text)
        return parse(text)

    def _body(self, clips: Sequence[Sequence[str]]) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": self._question}]
        for name, pictures in zip("AB", clips, strict=True):
            content.append({"type": "text", "text": f"Recording {name}:"})
            content += [{"type": "image_url", "image_url": {"url": one}} for one in pictures]
        return {
            "model": self.config.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.config.max_tokens,
            "temperature": self.config.temperature,
        }

    def _complete(self, body: dict[str, Any]) -> str:
        url = self.config.url.rstrip("/") + "/chat/completions"
        sent = send("POST", url, body, headers=self._headers, retries=self._retries)
        try:
            return str(json.loads(sent.body)["choices"][0]["message"]["content"])
        except (ValueError, KeyError, IndexError, TypeError):
            raise ValueError(f"{url} answered without a message: {sent.body[:200]!r}") from None

    def _place(self, body: dict[str, Any]) -> Path | None:
        if self.config.cache is None:
            return None
        digest = hashlib.sha256(json.dumps([self.config.url, body]).encode()).hexdigest()
        return self.config.cache / digest[:2] / f"{digest}.json"

    def _read(self, body: dict[str, Any]) -> str | None:
        place = self._place(body)
        if place is None or not place.is_file():
            return None
        return str(json.loads(place.read_text(encoding="utf-8"))["content"])

    def _keep(self, body: dict[str, Any], text: str) -> None:
        place = self._place(body)
        if place is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            partial = place.with_name(f".{os.getpid()}.{place.name}")
            answer = {"model": self.config.model, "content": text}
            partial.write_text(json.dumps(answer), encoding="utf-8")
            partial.replace(place)


def parse(text: str) -> float | None:
    """Return the label in a model's last "ANSWER ..." line; None if unsure or nothing is there."""
    found = _ANSWER.findall(text)
    return _LABELS[found[-1].upper()] if found else None


def even_frames(film: bytes, number: int) -> list[bytes]:
    """Return frames of a film as JPEG files, at even distances, the first and the last included.

    Raises:
        OSError: if it is no film.
    """
    import imageio.v3 as imageio

    frames = imageio.imread(film, extension=".mp4", plugin="FFMPEG")
    places = np.linspace(0, len(frames) - 1, number).round().astype(int)
    return [imageio.imwrite("<bytes>", frames[place], extension=".jpg") for place in places]


def _data_address(picture: bytes) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _value(label: float | None) -> Value:
    return None if label is None else {"label": label}
