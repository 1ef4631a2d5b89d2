"""What travels through the loop: a frame with the moment it was taken, a tick with the answer to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from orilla.runtime.preprocessing.image import Image
from orilla.runtime.preprocessing.tensor import ArrayResult, Arrays
from orilla.runtime.tasks.classify import Classification
from orilla.runtime.tasks.segment import Segmentation

QUEUE_DEPTH = 2
"""Frames that may wait between two stages of the loop when the policy answers every frame."""

Answer = Segmentation | Classification | ArrayResult
"""What one model says."""


@dataclass(frozen=True, eq=False)
class Answers(Mapping[str, Answer]):
    """What several models say of one frame, by the names they were given."""

    by_name: Mapping[str, Answer]

    def __getitem__(self, name: str) -> Answer:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    def to_dict(self) -> dict[str, object]:
        """What one JSON line says of the result."""
        return {"task": "several", "answers": {name: answer.to_dict() for name, answer in self.by_name.items()}}


class Part(msgspec.Struct, frozen=True, eq=False):
    """What the second model of a cascade says of a part of the frame."""

    box_xyxy: tuple[int, int, int, int]
    """Left, top, right and bottom edge in the frame, pixels; right and bottom are outside."""
    answer: Answer


class Cascaded(msgspec.Struct, frozen=True, eq=False):
    """What a cascade says: the first model of the frame, the second of each part that was cut out."""

    first: Answer
    parts: tuple[Part, ...]

    def to_dict(self) -> dict[str, object]:
        """What one JSON line says of the result."""
        parts = [{"box_xyxy": list(part.box_xyxy), **part.answer.to_dict()} for part in self.parts]
        return {"task": "cascade", "first": self.first.to_dict(), "parts": parts}


Result = Segmentation | Classification | ArrayResult | Answers | Cascaded

EventKind = Literal["lost", "waiting", "back", "corrupt", "size", "engine"]
"""The source broke off or stalled; it is not there yet, and is tried again; it gives frames again; one frame is
damaged, empty or no picture; frames have another size from here on; an accelerator was lost, or is back."""


class Event(msgspec.Struct, frozen=True):
    """Something that happened to a source or an accelerator, and did not end the loop."""

    kind: EventKind
    index: int
    """Of the frame that it happened to, or the next one."""
    at_ns: int
    """Monotonic clock, nanoseconds."""
    detail: str
    """One line."""


class Frame(msgspec.Struct, frozen=True, eq=False):
    """One picture and its identity."""

    index: int
    """Counts every frame that the source took, from 0, also over a loss of the camera; a gap is a dropped frame."""
    image: Image
    """`[H,W,3]` uint8 BGR; unchanged for as long as you, or a view of yours, hold it."""
    captured_ns: int
    """Monotonic clock when the frame was taken, nanoseconds."""
    name: str | None = None
    """The picture's file name, where the source is a folder."""

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"Frame(index={self.index}, {width}x{height}, captured_ns={self.captured_ns})"

    @property
    def raw(self) -> Image:
        return self.image


class Line(msgspec.Struct, frozen=True, eq=False):
    """One text and its identity: the frame of a text model."""

    index: int
    text: str
    captured_ns: int
    """Monotonic clock when the text was read, nanoseconds."""
    name: str | None = None

    @property
    def raw(self) -> str:
        return self.text


class Record(msgspec.Struct, frozen=True, eq=False):
    """One sample of arrays and its identity: the frame of a model of arrays."""

    index: int
    arrays: Arrays
    captured_ns: int
    """Monotonic clock when the arrays were handed over, nanoseconds."""
    name: str | None = None

    @property
    def raw(self) -> Arrays:
        return self.arrays


class Tick(msgspec.Struct, frozen=True, eq=False):
    """The answer to one frame, with the frame's identity and the time of every stage."""

    frame: Frame | Line | Record
    result: Result
    stages_ms: dict[str, float]
    """Time in each stage: `capture`, `prepare`, `infer`, `decode`."""
    delivered_ns: int
    """Monotonic clock when the answer was handed to the caller, nanoseconds."""
    drops: Mapping[str, int] = {}
    """Count of dropped frames so far, by reason: `superseded`, `unconsumed`, `rate`, `deadline` or `corrupt`; see
    `orilla.runtime.loop.scheduler.Reason`."""

    @property
    def dropped(self) -> int:
        """Frames of this loop that got no answer so far, for whatever reason."""
        return sum(self.drops.values())

    @property
    def index(self) -> int:
        return self.frame.index

    @property
    def captured_ns(self) -> int:
        return self.frame.captured_ns

    @property
    def age_ms(self) -> float:
        """From capture to the caller's hands, waiting included."""
        return (self.delivered_ns - self.frame.captured_ns) / 1e6

    def __repr__(self) -> str:
        return f"Tick({self.to_dict()})"

    def to_dict(self) -> dict[str, object]:
        """What one JSON line says; `docs/json.md` describes it."""
        named: dict[str, object] = {"name": self.frame.name} if self.frame.name else {}
        if isinstance(self.frame, Line):
            named["text"] = self.frame.text
        return {
            "index": self.index,
            **named,
            "captured_ns": self.captured_ns,
            "age_ms": round(self.age_ms, 3),
            "stages_ms": {name: round(value, 3) for name, value in self.stages_ms.items()},
            "dropped": self.dropped,
            "drops": dict(self.drops),
            "result": self.result.to_dict(),
        }
