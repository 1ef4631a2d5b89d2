"""Replay a recording: check that the same events lead to the same decisions, or simulate another policy.

The clock comes from the recording or is simulated, so an hour of camera replays in seconds.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.loop import recording
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.recording import Answered, Drop, Entry, Header, Step, Taken
from orilla.runtime.loop.scheduler import FrameScheduler, Reason
from orilla.runtime.loop.simulate import Given, Outcome, simulate


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome of a frame: an answer, or the reason for its drop."""

    index: int
    at_ns: int
    """Monotonic clock when the answer was delivered or the frame was dropped, nanoseconds."""
    reason: Reason | None = None
    captured_ns: int = 0
    began_ns: int = 0
    drops: dict[str, int] = {}
    """Frames dropped by then, by reason."""
    result: dict[str, Any] | None = None


@dataclass(slots=True)
class _Frame:
    index: int
    captured_ns: int
    began_ns: int = 0
    result: dict[str, Any] | None = None


@dataclass(slots=True)
class Replay:
    """A recording that was read."""

    header: Header
    entries: list[Entry] = field(default_factory=list)

    @classmethod
    def read(cls, path: str | Path) -> Replay:
        """Read a recording. Raises `DataError`."""
        entries = recording.read(path)
        header = next(entries, None)
        if not isinstance(header, Header):
            msg = f"{path} is empty: not a recording"
            raise DataError(msg)
        Policy.parse(header.policy)
        return cls(header, list(entries))

    def decided(self) -> bytes:
        """Return the recorded decisions, one JSON line each. Raises `DataError` if the recording lacks a line."""
        try:
            return _lines(self._decided())
        except KeyError as error:
            msg = f"the recording is damaged: a line of frame {error} is missing"
            raise DataError(msg) from error

    def decide(self) -> bytes:
        """Return the decisions that the loop makes for the same events today, one JSON line each."""
        return _lines(self._decide())

    def under(self, policy: Policy | None = None, *, infer_ms: float | None = None) -> Outcome:
        """Simulate the loop with the same camera.

        Args:
            policy: Another policy. None uses the recorded one.
            infer_ms: Time of each inference, milliseconds. None uses the recorded times.

        Raises:
            ConfigError: The policy needs a frame rate, and the recorded source had none.
        """
        policy, live = policy or Policy.parse(self.header.policy), self.header.live
        frames = list(self._frames())
        if infer_ms is not None:
            frames = [replace(one, infer_ns=int(1e6 * infer_ms)) for one in frames]
        if policy.plays and not live:
            live, frames = True, self._played(frames)
        return simulate(frames, policy, live=live)

    def _played(self, frames: list[Given]) -> list[Given]:
        """Return a file's frames as a camera of its rate would have delivered them."""
        rate_hz = self.header.rate_hz
        if not rate_hz:
            msg = "the recorded source has no frame rate: use every"
            raise ConfigError(msg)
        due = ((one, int(1e9 * one.index / rate_hz)) for one in frames)
        return [replace(one, captured_ns=due_ns, read_ns=max(due_ns, one.read_ns)) for one, due_ns in due]

    def _decided(self) -> Iterator[Decision]:
        frames: dict[int, _Frame] = {}
        drops: dict[str, int] = {}
        for entry in self.entries:
            if isinstance(entry, Drop):
                drops[entry.reason] = drops.get(entry.reason, 0) + 1
                frames.pop(entry.index, None)
                yield Decision(entry.index, entry.at_ns, entry.reason)
            elif isinstance(entry, Taken):
                frames[entry.index] = _Frame(entry.index, entry.captured_ns)
            elif isinstance(entry, Answered):
                frames[entry.index].result = entry.result
            elif isinstance(entry, Step) and entry.verb == "begin" and entry.index in frames:
                frames[entry.index].began_ns = entry.at_ns
            elif isinstance(entry, Step) and entry.verb == "deliver":
                yield _delivered(frames.pop(entry.index), entry.at_ns, drops)

    def _decide(self) -> Iterator[Decision]:
        frames: dict[int, _Frame] = {}
        dropped: list[Decision] = []

        def drop(at_ns: int, index: int, reason: Reason) -> None:
            frames.pop(index, None)
            dropped.append(Decision(index, at_ns, reason))

        scheduler: FrameScheduler[_Frame] = FrameScheduler(
            Policy.parse(self.header.policy), live=self.header.live, dropped=drop
        )
        for entry in self.entries:
            if isinstance(entry, Taken):
                frames[entry.index] = _Frame(entry.index, entry.captured_ns)
            elif isinstance(entry, Answered) and entry.index in frames:
                frames[entry.index].result = entry.result
            elif isinstance(entry, Step):
                found = _repeat(scheduler, entry, frames)
                yield from dropped
                dropped.clear()
                if found is not None:
                    yield _delivered(found, entry.at_ns, scheduler.drops)

    def _frames(self) -> Iterator[Given]:
        """Yield the frames of the source with their recorded times, or with typical times if they were dropped."""
        taken = {entry.index: entry for entry in self.entries if isinstance(entry, Taken)}
        answered = {entry.index: entry for entry in self.entries if isinstance(entry, Answered)}
        steps = [entry for entry in self.entries if isinstance(entry, Step)]
        delivered = {step.index: step.at_ns for step in steps if step.verb == "deliver"}
        done = {step.index: step.at_ns for step in steps if step.verb == "done"}
        sinks = {index: at_ns - delivered[index] for index, at_ns in done.items() if index in delivered}
        prepared = {index: _ns(one.stages_ms, "prepare") for index, one in taken.items()}
        # In a cascade, the inference thread also prepares crops, whose time is part of `prepare`.
        inferred = {
            index: _ns(one.stages_ms, "infer", "decode")
            + max(0, _ns(one.stages_ms, "prepare") - prepared.get(index, 0))
            for index, one in answered.items()
        }
        captured = {index: _ns(one.stages_ms, "capture") for index, one in taken.items()}
        usual = [_median(one.values()) for one in (captured, prepared, inferred, sinks)]
        corrupt = {step.index for step in steps if step.verb == "corrupt"}
        # A frame that could not be prepared was admitted before it proved to be corrupt.
        read = {step.index: step for step in reversed(steps) if step.verb in ("admit", "corrupt")}
        for place, step in sorted(read.items()):
            yield Given(
                index=place,
                captured_ns=step.time_ns,
                read_ns=step.at_ns if self.header.live else captured.get(place, usual[0]),
                prepare_ns=prepared.get(place, usual[1]),
                infer_ns=inferred.get(place, usual[2]),
                sink_ns=sinks.get(place, usual[3]),
                corrupt=place in corrupt,
            )


def _repeat(scheduler: FrameScheduler[_Frame], step: Step, frames: dict[int, _Frame]) -> _Frame | None:
    """Ask for a recorded decision again. Return the item that is delivered to the caller.

    A frame that is dropped in the replay, but was not in the recording, is skipped.
    """
    if step.verb == "admit":
        scheduler.admit(step.index, step.time_ns, step.at_ns)
    elif step.verb == "corrupt":
        scheduler.corrupt(step.index, step.at_ns)
    elif step.verb == "begin":
        if (frame := scheduler.begin(step.at_ns)) is not None:
            frame.began_ns = step.at_ns
    elif step.verb == "deliver":
        return scheduler.deliver(step.at_ns)
    elif step.verb == "arrive" and step.index in frames:
        scheduler.arrive(frames[step.index], step.at_ns)
    elif step.verb == "answer" and step.index in frames:
        scheduler.answer(frames[step.index], step.at_ns)
    return None


def _delivered(frame: _Frame, at_ns: int, drops: dict[str, int]) -> Decision:
    return Decision(frame.index, at_ns, None, frame.captured_ns, frame.began_ns, dict(drops), frame.result)


def _lines(decisions: Iterable[Decision]) -> bytes:
    return b"".join(msgspec.json.encode(one) + b"\n" for one in decisions)


def _ns(stages_ms: dict[str, float], *names: str) -> int:
    return int(1e6 * sum(stages_ms.get(name, 0.0) for name in names))


def _median(values: Iterable[int]) -> int:
    found = list(values)
    return int(statistics.median(found)) if found else 0
