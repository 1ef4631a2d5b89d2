"""Triggers that begin a clip of the sink `clip`: events of the loop, doubts, changed results and classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast, get_args

from orilla.devices.errors import unknown_name
from orilla.runtime.frame import Boxed, CascadeResult, Doubt, Event, EventKind, Ranked, Result, Tick, answers_of

NEVER = ("waiting", "sink", "doubt", "trigger")
"""Kinds of events that `on` does not match. The first two are not passed to sinks. Doubts are detected in the ticks,
which also show when they begin. The program's triggers always begin a clip."""

EVENTS = tuple(kind for kind in get_args(EventKind) if kind not in NEVER)

WORDS = ("nothing", "change", "doubt", *get_args(Doubt), *EVENTS)
"""Values that the option `on` accepts."""

MIN_AREA = 0.01
"""Minimum share of the frame that a class must cover to count as found in a segmentation."""


class Trigger(NamedTuple):
    """A reason to keep a clip."""

    name: str
    """Name of the trigger: a value of the option `on`, the name of a class, or `trigger` if the program called it."""
    detail: str
    """One-line description."""
    at_ns: int
    """Time on the monotonic clock, in nanoseconds."""


class TriggerNames(tuple[str, ...]):
    """Words separated by commas, as in `doubt,lost`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> TriggerNames:
        """Split text into words. Raise `ValueError` if it contains none."""
        words = [word.strip() for word in text.split(",") if word.strip()]
        if not words:
            msg = "expected one or more words, separated by commas"
            raise ValueError(msg)
        return cls(words)

    def check(self) -> None:
        """Raise `ValueError` if the option `on` does not accept a word."""
        for word in self:
            if word not in WORDS:
                raise ValueError(str(unknown_name(word, WORDS, kind="word in `on`")))
        if "nothing" in self and len(self) > 1:
            msg = f"on={','.join(self)}: nothing cannot be combined with other words"
            raise ValueError(msg)


class Triggers:
    """Detects triggers in ticks and events.

    Args:
        on: Words of the option `on`.
        labels: Classes of the option `label`.
        known: Classes of the model. If empty, any class is accepted.

    Raises:
        ConfigError: A class is unknown.
    """

    def __init__(self, on: Sequence[str], labels: Sequence[str], known: Sequence[str]) -> None:
        for label in labels:
            if known and label not in known:
                raise unknown_name(label, known, kind="class in the option label of the sink clip")
        self._on, self._labels = frozenset(on), frozenset(labels)
        self._doubts: frozenset[str] = frozenset()
        self._seen: frozenset[str] = frozenset()
        self._state: object = None
        self._count = 0

    @property
    def holds(self) -> bool:
        """Return True if a class of the option `label` is in the newest result."""
        return bool(self._seen)

    def of_event(self, event: Event) -> Trigger | None:
        """Return the trigger that an event causes, or None."""
        if event.kind == "trigger" or (event.kind in EVENTS and event.kind in self._on):
            return Trigger(event.kind, event.detail, event.at_ns)
        return None

    def of_tick(self, tick: Tick) -> list[Trigger]:
        """Return the triggers that begin with a tick."""
        return [
            Trigger(name, detail, tick.captured_ns)
            for name, detail in (*self._new_doubts(tick), *self._new_labels(tick.result), *self._change(tick.result))
        ]

    def _new_doubts(self, tick: Tick) -> Iterable[tuple[str, str]]:
        doubts, before = frozenset(tick.doubts), self._doubts
        self._doubts = doubts
        for doubt in sorted(doubts - before):
            if {"doubt", doubt} & self._on:
                yield doubt if doubt in self._on else "doubt", f"the frames are {doubt}"

    def _new_labels(self, result: Result) -> Iterable[tuple[str, str]]:
        seen, before = self._labels and _classes(result) & self._labels, self._seen
        self._seen = seen
        for label in sorted(seen - before):
            yield label, f"{label} appeared"

    def _change(self, result: Result) -> Iterable[tuple[str, str]]:
        if "change" not in self._on:
            return
        state, before = result.state(), self._state
        self._state, self._count = state, self._count + 1
        if self._count > 1 and state != before:
            yield "change", f"the result is now {_short(state)}"


def _short(state: object) -> str:
    return " ".join(str(state).split())[:80]


def _classes(result: Result) -> frozenset[str]:
    """Return the classes that were found in a frame by all models."""
    answers = [answer for _, answer in answers_of(result)]
    if isinstance(result, CascadeResult):
        answers += [part.answer for part in result.parts]
    classes: set[str] = set()
    for answer in answers:
        if isinstance(answer, Boxed):
            classes.update(box.label for box in answer.boxes)
        elif isinstance(answer, Ranked):
            state = answer.state()  # The result is one class, or a list of several applicable classes.
            classes.update([state] if isinstance(state, str) else cast("list[str]", state))
        else:
            measures = answer.measures()
            classes.update(part.name for part in measures if part.quantity == "fraction" and part.number >= MIN_AREA)
    return frozenset(classes)
