"""The data that the loop delivers: frames, events and ticks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal, Protocol, TypedDict, cast, runtime_checkable

import msgspec

from orilla.devices.errors import ConfigError
from orilla.runtime.preprocessing.image import Image
from orilla.runtime.preprocessing.tensor import Arrays
from orilla.runtime.tasks.documents import AnswerDocument, AnswersDocument, CascadeDocument
from orilla.runtime.tasks.drawing import draw_box, draw_caption
from orilla.runtime.tasks.task import Answer

QUEUE_DEPTH = 2
"""Maximum number of frames that wait between two threads if the policy is `every`."""


class _TickKeys(TypedDict):
    index: int
    """Index of the frame. A missing index is a dropped frame."""
    captured_ns: int
    """Capture time on the monotonic clock, in nanoseconds."""
    captured_at: str
    """Capture time as a date and time in UTC."""
    age_ms: float
    """Time from capture to delivery."""
    stages_ms: dict[str, float]
    """Time of each stage."""
    dropped: int
    """Frames dropped so far."""
    drops: dict[str, int]
    """Number of frames dropped so far for each reason."""
    result: AnswerDocument


class TickDocument(_TickKeys, total=False):
    """One answer of the loop: a line of the sink `jsonl`."""

    source: str
    """Name of the source. Only with several sources."""
    name: str
    """Name of the file or frame, for a folder or a glob."""
    text: str
    """The text, for a text model."""
    time_ns: int
    """Time from the first frame of a video file to this one, in nanoseconds."""
    doubts: list[str]
    """Checks that the frame failed. Absent if there are none."""
    rung: str
    """Name of the rung that answered. Only with a ladder."""
    agreement: float
    """Mean agreement of the last checks, 0–1. Only with a shadow check."""


@dataclass(frozen=True, eq=False)
class Answers(Mapping[str, Answer]):
    """The answers of several models to one frame. The keys are the names of the models."""

    by_name: Mapping[str, Answer]

    def __getitem__(self, name: str) -> Answer:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    def to_dict(self) -> AnswersDocument:
        """Return the result as a JSON document."""
        return {"task": "several", "answers": {name: answer.to_dict() for name, answer in self.by_name.items()}}

    def state(self) -> object:
        """Return the states of all answers. See `Answer.state`."""
        return {name: answer.state() for name, answer in self.by_name.items()}

    def draw(self, image: Image) -> list[str]:
        """Draw every answer into the image, and return the lines of all captions."""
        return [text for answer in self.by_name.values() for text in answer.draw(image)]


class Part(msgspec.Struct, frozen=True, eq=False):
    """A crop of the frame, and the answer of a cascade's second model to it."""

    box_xyxy: tuple[int, int, int, int]
    """Left, top, right and bottom edge in the frame, in pixels. Right and bottom are exclusive."""
    answer: Answer


class CascadeResult(msgspec.Struct, frozen=True, eq=False):
    """The answers of a cascade: the first model's answer to the frame, and the second model's answer to each crop."""

    first: Answer
    parts: tuple[Part, ...]

    def to_dict(self) -> CascadeDocument:
        """Return the result as a JSON document."""
        parts: list[Mapping[str, object]] = [
            {"box_xyxy": list(part.box_xyxy), **part.answer.to_dict()} for part in self.parts
        ]
        return {"task": "cascade", "first": self.first.to_dict(), "parts": parts}

    def state(self) -> object:
        """Return the states of all answers. See `Answer.state`."""
        return self.first.state(), [part.answer.state() for part in self.parts]

    def draw(self, image: Image) -> list[str]:
        """Draw the answers and the boxes of the crops into the image, and return the lines of all captions."""
        texts = self.first.draw(image)
        for part in self.parts:
            left, top, right, bottom = part.box_xyxy
            draw_box(image, part.box_xyxy)
            texts += part.answer.draw(image[top:bottom, left:right])
        return texts


Result = Answer | Answers | CascadeResult
"""The result for one frame: the answer of one model, of several models, or of a cascade."""


def answers_of(result: Result) -> Iterator[tuple[str, Answer]]:
    """Yield the name of each model and its answer.

    The name is empty if there is only one model. For a cascade, only the answer of the first model is yielded.
    """
    if isinstance(result, Answers):
        yield from result.items()
    elif isinstance(result, CascadeResult):
        yield "", result.first
    else:
        yield "", result


@runtime_checkable
class Ranked(Protocol):
    """An answer that ranks classes, such as that of a classifier."""

    labels: tuple[str, ...]

    @property
    def top(self) -> Any:
        """Return the most likely class, with `label` and `score`."""

    def top_k(self, count: int) -> Sequence[Any]:
        """Return the `count` most likely classes, each with `label` and `score`."""


@runtime_checkable
class Boxed(Protocol):
    """An answer with labelled boxes, such as that of a detector."""

    boxes: tuple[Any, ...]
    """Objects in descending order of score, with `label`, `score`, `xyxy` and `track`."""
    frame_hw: tuple[int, int]


EventKind = Literal[
    "lost",
    "waiting",
    "back",
    "corrupt",
    "truncated",
    "size",
    "settings",
    "time",
    "engine",
    "sink",
    "doubt",
    "invalid",
    "rung",
    "drift",
    "trigger",
]
"""Kind of an event:

- `lost`: The source failed or stalled.
- `waiting`: The source has no frame yet.
- `back`: The source delivers frames again.
- `corrupt`: One frame cannot be used.
- `truncated`: A file ended earlier than its header states. The frames before its end were delivered.
- `size`: From this frame on, frames have a different size.
- `settings`: A camera was opened with options. The detail states the requested values and those that the driver chose.
- `time`: The presentation times of a stream disagree with the clock, so the arrival times are used as time stamps; or
  the presentation times agree again. Or frames arrive faster than they are read.
- `engine`: An accelerator was lost or is back.
- `doubt`: From this frame on, frames fail one or more checks of the guard, or no longer fail them.
- `sink`: A sink failed, was reopened, or drops ticks because it is too slow.
- `invalid`: From this frame on, the outputs of the model contain NaN or infinity, so there is no answer; or they are
  valid again.
- `rung`: The loop stepped to another rung of its ladder, or cannot load one.
- `drift`: The agreement with the reference of the shadow check is too low or no longer too low, or the check failed.
- `trigger`: The program called `stream.trigger`, for example to keep a clip. The detail is the name that it gave.
"""

Doubt = Literal["dark", "bright", "covered", "blurred", "unfamiliar", "frozen"]
"""Reason why an answer cannot be trusted. `orilla.runtime.loop.checks.CHECKS` describes each."""


class Event(msgspec.Struct, frozen=True):
    """A change of a source or an accelerator that does not end the loop."""

    kind: EventKind
    index: int
    """Index of the affected frame, or of the next frame."""
    at_ns: int
    """Time on the monotonic clock, in nanoseconds."""
    detail: str
    """One-line description."""
    source: str | None = None
    """Name of the source, if the loop has several sources."""


class Frame(msgspec.Struct, frozen=True, eq=False):
    """One image of a source, with its index and capture time."""

    index: int
    """Index of the frame, counted from 0. The count continues after the camera was lost. A missing index means a
    dropped frame."""
    image: Image
    """Image `[H,W,3]` uint8 BGR. It stays unchanged as long as you keep a reference to it or to a view of it."""
    captured_ns: int
    """Capture time on the monotonic clock, in nanoseconds."""
    name: str | None = None
    """Name of the image's file in the folder or glob, such as `cat/1.jpg`. The fifth frame of a video in a folder is
    `clip.mp4/4`. None for other sources."""
    time_ns: int | None = None
    """Time from the start of a video file to this frame, in nanoseconds, according to the file's presentation times.
    None if the source is not a video file."""

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"Frame(index={self.index}, {width}x{height}, captured_ns={self.captured_ns})"

    @property
    def raw(self) -> Image:
        """Return the raw input of the network."""
        return self.image


class Line(msgspec.Struct, frozen=True, eq=False):
    """One text of a source, with its index and time. Text models process texts as image models process frames."""

    index: int
    text: str
    captured_ns: int
    """Time at which the text was read, on the monotonic clock, in nanoseconds."""
    name: str | None = None

    @property
    def raw(self) -> str:
        """Return the raw input of the network."""
        return self.text


class Record(msgspec.Struct, frozen=True, eq=False):
    """One sample of arrays, with its index and time.

    Models that take arrays process such samples as image models process frames.
    """

    index: int
    arrays: Arrays
    captured_ns: int
    """Time at which the arrays were received, on the monotonic clock, in nanoseconds."""
    name: str | None = None

    @property
    def raw(self) -> Arrays:
        """Return the raw input of the network."""
        return self.arrays


def wall_ns(monotonic_ns: int) -> int:
    """Convert a time on the monotonic clock to nanoseconds since 1970.

    If the machine's clock was adjusted after that time, the result is the time that the adjusted clock would have
    shown.
    """
    return monotonic_ns + time.time_ns() - time.monotonic_ns()


def wall_time(monotonic_ns: int) -> str:
    """Convert a time on the monotonic clock to a date and time in UTC, such as `2026-03-01T12:00:00.250Z`.

    See `wall_ns`.
    """
    seconds = wall_ns(monotonic_ns) / 1e9
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def media_time_ns(frame: Frame | Line | Record, rate_hz: float | None) -> int | None:
    """Return the time of a frame since the start of its recorded source, in nanoseconds, or None if it is unknown.

    Args:
        frame: A frame of the source.
        rate_hz: Frame rate of the source. It is used for frames that have no time. None if the source has no frame
            rate.
    """
    if isinstance(frame, Frame) and frame.time_ns is not None:
        return frame.time_ns
    return int(1e9 * frame.index / rate_hz) if rate_hz else None


class Tick(msgspec.Struct, frozen=True, eq=False):
    """The answer to one frame, with the frame and the time of every stage."""

    frame: Frame | Line | Record
    result: Result
    stages_ms: dict[str, float]
    """Time of the stages `capture`, `prepare`, `infer` and `decode`, in milliseconds, and of `track` if objects are
    tracked."""
    delivered_ns: int
    """Time at which the caller received the answer, on the monotonic clock, in nanoseconds."""
    drops: Mapping[str, int] = {}
    """Number of dropped frames so far, by reason: `superseded`, `unconsumed`, `rate`, `deadline`, `corrupt` or
    `invalid`. See `orilla.runtime.loop.scheduler.Reason`."""
    source: str | None = None
    """Name of the source, if the loop has several sources."""

    doubts: tuple[str, ...] = ()
    """Reasons why the answer cannot be trusted. They are names from `orilla.runtime.loop.guard.CHECKS`."""
    rung: str | None = None
    """Name of the rung that answered the frame. None if the loop has no ladder."""
    agreement: float | None = None
    """Mean agreement of the last shadow checks, 0–1. None if there was none."""

    @property
    def trusted(self) -> bool:
        """Return True if there is no reason to doubt the answer."""
        return not self.doubts

    @property
    def dropped(self) -> int:
        """Return the number of dropped frames so far."""
        return sum(self.drops.values())

    @property
    def index(self) -> int:
        """Return the index of the frame."""
        return self.frame.index

    @property
    def captured_ns(self) -> int:
        """Return the capture time of the frame on the monotonic clock, in nanoseconds."""
        return self.frame.captured_ns

    @property
    def age_ms(self) -> float:
        """Return the time from capture to delivery in milliseconds, including waiting."""
        return (self.delivered_ns - self.frame.captured_ns) / 1e6

    def draw(self) -> Image:
        """Return a copy of the frame's image with the result and the inference time drawn on it.

        Raises:
            ConfigError: The frame is not an image.
        """
        if not isinstance(self.frame, Frame):
            msg = "there is no image to draw on: use the sink `jsonl`"
            raise ConfigError(msg)
        image = self.frame.image.copy()
        texts = self.result.draw(image)
        if texts:
            draw_caption(image, "  ".join([*texts, f"infer {self.stages_ms['infer']:.1f} ms"]))
        return image

    def __repr__(self) -> str:
        return f"Tick({self.to_dict()})"

    def to_dict(self) -> TickDocument:
        """Return the tick as a JSON document. See `docs/json.md`."""
        text = self.frame.text if isinstance(self.frame, Line) else None
        time_ns = self.frame.time_ns if isinstance(self.frame, Frame) else None
        document: dict[str, object] = {
            "source": self.source,
            "index": self.index,
            "name": self.frame.name or None,
            "text": text,
            "captured_ns": self.captured_ns,
            "captured_at": wall_time(self.captured_ns),
            "time_ns": time_ns,
            "age_ms": round(self.age_ms, 3),
            "stages_ms": {name: round(value, 3) for name, value in self.stages_ms.items()},
            "dropped": self.dropped,
            "drops": dict(self.drops),
            "doubts": list(self.doubts) or None,
            "rung": self.rung,
            "agreement": None if self.agreement is None else round(self.agreement, 4),
            "result": self.result.to_dict(),
        }
        return cast("TickDocument", {key: value for key, value in document.items() if value is not None})
