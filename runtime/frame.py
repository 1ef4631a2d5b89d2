"""Frames, events and ticks: the data that travels through the loop."""

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
"""Frames that may wait between two stages if the policy answers every frame."""

Answer = Segmentation | Classification | ArrayResult
"""Answer of one model."""


@dataclass(frozen=True, eq=False)
class Answers(Mapping[str, Answer]):
    """Answers of several models to one frame, by the models' names."""

    by_name: Mapping[str, Answer]

    def __getitem__(self, name: str) -> Answer:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    def to_dict(self) -> dict[str, object]:
        """Return the result as a JSON document."""
        return {"task": "several", "answers": {name: answer.to_dict() for name, answer in self.by_name.items()}}


class Part(msgspec.Struct, frozen=True, eq=False):
    """Answer of a cascade's second model to a part of the frame."""

    box_xyxy: tuple[int, int, int, int]
    """Left, top, right and bottom edge in the frame, pixels; right and bottom are exclusive."""
    answer: Answer


class Cascaded(msgspec.Struct, frozen=True, eq=False):
    """Answer of a cascade: of the first model to the frame, and of the second to each crop."""

    first: Answer
    parts: tuple[Part, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the result as a JSON document."""
        parts = [{"box_xyxy": list(part.box_xyxy), **part.answer.to_dict()} for part in self.parts]
        return {"task": "cascade", "first": self.first.to_dict(), "parts": parts}


Result = Segmentation | Classification | ArrayResult | Answers | Cascaded

EventKind = Literal["lost", "waiting", "back", "corrupt", "size", "engine"]
"""`lost`: the source failed or stalled. `waiting`: it is still absent and is retried. `back`: it delivers frames again.
`corrupt`: one frame cannot be used. `size`: frames have another size from here on. `engine`: an accelerator was
lost, or is back."""


class Event(msgspec.Struct, frozen=True):
    """A change of a source or an accelerator that did not end the loop."""

    kind: EventKind
    index: int
    """Number of the affected frame, or of the next one."""
    at_ns: int
    """Monotonic clock, nanoseconds."""
    detail: str
    """Description, one line."""


class Frame(msgspec.Struct, frozen=True, eq=False):
    """One image with its identity."""

    index: int
    """Number of the frame, from 0, which continues after a loss of the camera. A gap is a dropped frame."""
    image: Image
    """Image, `[H,W,3]` uint8 BGR. It stays unchanged as long as you hold it or a view of it."""
    captured_ns: int
    """Capture time on the monotonic clock, nanoseconds."""
    name: str | None = None
    """File name of the image, if the source is a folder."""

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"Frame(index={self.index}, {width}x{height}, captured_ns={self.captured_ns})"

    @property
    def raw(self) -> Image:
        return self.image


class Line(msgspec.Struct, frozen=True, eq=False):
    """One text with its identity: the frame of a text model."""

    index: int
    text: str
    captured_ns: int
    """Time of reading the text on the monotonic clock, nanoseconds."""
    name: str | None = None

    @property
    def raw(self) -> str:
        return self.text


class Record(msgspec.Struct, frozen=True, eq=False):
    """One sample of arrays with its identity: the frame of a model of arrays."""

    index: int
    arrays: Arrays
    captured_ns: int
    """Time of receiving the arrays on the monotonic clock, nanoseconds."""
    name: str | None = None

    @property
    def raw(self) -> Arrays:
        return self.arrays


class Tick(msgspec.Struct, frozen=True, eq=False):
    """The answer to one frame, with the frame's identity and the time of every stage."""

    frame: Frame | Line | Record
    result: Result
    stages_ms: dict[str, float]
    """Time in `capture`, `prepare`, `infer` and `decode`, milliseconds."""
    delivered_ns: int
    """Time of delivery to the caller on the monotonic clock, nanoseconds."""
    drops: Mapping[str, int] = {}
    """Count of dropped frames so far, by reason: `superseded`, `unconsumed`, `rate`, `deadline` or `corrupt`; see
    `orilla.runtime.loop.scheduler.Reason`."""

    @property
    def dropped(self) -> int:
        """Return the number of dropped frames so far."""
        return sum(self.drops.values())

    @property
    def index(self) -> int:
        return self.frame.index

    @property
    def captured_ns(self) -> int:
        return self.frame.captured_ns

    @property
    def age_ms(self) -> float:
        """Return the time from capture to delivery, including waiting, milliseconds."""
        return (self.delivered_ns - self.frame.captured_ns) / 1e6

    def __repr__(self) -> str:
        return f"Tick({self.to_dict()})"

    def to_dict(self) -> dict[str, object]:
        """Return the tick as a JSON document; see `docs/json.md`."""
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
