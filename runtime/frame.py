"""What travels through the loop: a frame with the moment it was taken, a tick with the answer to it."""

from __future__ import annotations

from dataclasses import dataclass

from orilla.runtime.arrays import ArrayResult, Arrays
from orilla.runtime.preprocess import Image
from orilla.runtime.tasks.classify import Classification
from orilla.runtime.tasks.segment import Segmentation

Result = Segmentation | Classification | ArrayResult


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture and its identity."""

    index: int
    """Counts every frame that the source took, from 0; a gap is a dropped frame."""
    image: Image
    """`[H,W,3]` uint8 BGR; unchanged for as long as you, or a view of yours, hold it."""
    captured_ns: int
    """Monotonic clock when the frame was taken, nanoseconds."""
    name: str | None = None
    """The picture's file name, where the source is a folder."""

    @property
    def raw(self) -> Image:
        return self.image


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One text and its identity: the frame of a text model."""

    index: int
    text: str
    captured_ns: int
    """Monotonic clock when the text was read, nanoseconds."""
    name: str | None = None

    @property
    def raw(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One sample of arrays and its identity: the frame of a model of arrays."""

    index: int
    arrays: Arrays
    captured_ns: int
    """Monotonic clock when the arrays were handed over, nanoseconds."""
    name: str | None = None

    @property
    def raw(self) -> Arrays:
        return self.arrays


@dataclass(frozen=True, slots=True, eq=False)
class Tick:
    """The answer to one frame, with the frame's identity and the time of every stage."""

    frame: Frame | Line | Record
    result: Result
    stages_ms: dict[str, float]
    """Time in each stage: `capture`, `prepare`, `infer`, `decode`."""
    delivered_ns: int
    """Monotonic clock when the answer was handed to the caller, nanoseconds."""
    dropped: int
    """Frames before this one that got no answer, because a newer one was there."""

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
            "result": self.result.to_dict(),
        }
