"""Replay a recording, to check that the current code makes the same decisions, or to simulate another policy.

A replay does not wait, because all times come from the recording or are simulated. A recording of an hour is therefore
replayed in seconds.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.loop import recording
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.recording import DropEntry, Entry, FrameEntry, Header, ResultEntry, StepEntry
from orilla.runtime.loop.scheduler import FrameScheduler, Reason
from orilla.runtime.loop.simulate import Outcome, SimulatedFrame, simulate


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome for one frame: it was answered, or it was dropped for a reason."""

    index: int
    at_ns: int
    """Time of the delivery or the drop on the monotonic clock, in nanoseconds."""
    reason: Reason | None = None
    captured_ns: int = 0
    began_ns: int = 0
    drops: dict[str, int] = {}
    """Number of frames that had been dropped by that time for each reason."""
    result: dict[str, Any] | None = None


@dataclass(slots=True)
class _Frame:
    index: int
    captured_ns: int
    began_ns: int = 0
    result: dict[str, Any] | None = None


@dataclass(slots=True)
class Replay:
    """The entries of a recording."""

    header: Header
    entries: list[Entry] = field(default_factory=list)

    @classmethod
    def read(cls, path: str | Path) -> Replay:
        """Read a recording. Raise `DataError` if it is invalid."""
        entries = recording.read(path)
        header = next(entries, None)
        if not isinstance(header, Header):
            msg = f"{path} is empty, so it is not a recording"
            raise DataError(msg)
        Policy.parse(header.policy)
        return cls(header, list(entries))

    def recorded_decisions(self) -> bytes:
        """Return the decisions of the recorded loop, one JSON document per line.

        Raises:
            DataError: A line is missing from the recording.
        """
        try:
            return _encode(self._recorded())
        except KeyError as error:
            msg = f"the recording is damaged: a line of frame {error} is missing"
            raise DataError(msg) from error

    def repeated_decisions(self) -> bytes:
        """Return the decisions that the current code makes for the same events, one JSON document per line."""
        return _encode(self._repeated())

    def simulate(self, policy: Policy | None = None, *, infer_ms: float | None = None) -> Outcome:
        """Simulate the loop with the recorded camera.

        Args:
            policy: Policy to simulate. If None, the recorded one is used.
            infer_ms: Time of each inference in milliseconds. If None, the recorded times are used.

        Raises:
            ConfigError: The policy needs a frame rate, but the source of the recording had no frame rate.
        """
        policy, live = policy or Policy.parse(self.header.policy), self.header.live
        frames = list(self._frames())
        if infer_ms is not None:
            frames = [replace(frame, infer_ns=int(1e6 * infer_ms)) for frame in frames]
        if policy.needs_playback and not live:
            live, frames = True, self._played(frames)
        return simulate(frames, policy, live=live)

    def _played(self, frames: list[SimulatedFrame]) -> list[SimulatedFrame]:
        """Return the frames of a file with the times at which a camera would deliver them."""
        if not self.header.rate_hz:
            msg = "the source of the recording had no frame rate: use policy=every"
            raise ConfigError(msg)
        played, due_ns = [], 0
        for frame in frames:
            # A frame that could not be decoded has no capture time. It needs none, because no inference follows.
            due_ns = due_ns if frame.corrupt else frame.captured_ns
            played.append(replace(frame, captured_ns=due_ns, read_ns=max(due_ns, frame.read_ns)))
        return played

    def _recorded(self) -> Iterator[Decision]:
        frames: dict[int, _Frame] = {}
        drops: dict[str, int] = {}
        for entry in self.entries:
            if isinstance(entry, DropEntry):
                drops[entry.reason] = drops.get(entry.reason, 0) + 1
                frames.pop(entry.index, None)
                yield Decision(entry.index, entry.at_ns, entry.reason)
            elif isinstance(entry, FrameEntry):
                frames[entry.index] = _Frame(entry.index, entry.captured_ns)
            elif isinstance(entry, ResultEntry):
                frames[entry.index].result = entry.result
            elif isinstance(entry, StepEntry) and entry.verb == "begin" and entry.index in frames:
                frames[entry.index].began_ns = entry.at_ns
            elif isinstance(entry, StepEntry) and entry.verb == "deliver":
                yield _delivered(frames.pop(entry.index), entry.at_ns, drops)

    def _repeated(self) -> Iterator[Decision]:
        frames: dict[int, _Frame] = {}
        dropped: list[Decision] = []

        def drop(at_ns: int, index: int, reason: Reason) -> None:
            frames.pop(index, None)
            dropped.append(Decision(index, at_ns, reason))

        scheduler: FrameScheduler[_Frame] = FrameScheduler(
            Policy.parse(self.header.policy), live=self.header.live, on_drop=drop
        )
        for entry in self.entries:
            if isinstance(entry, FrameEntry):
                frames[entry.index] = _Frame(entry.index, entry.captured_ns)
            elif isinstance(entry, ResultEntry) and entry.index in frames:
                frames[entry.index].result = entry.result
            elif isinstance(entry, StepEntry):
                delivered = _repeat(scheduler, entry, frames)
                yield from dropped
                dropped.clear()
                if delivered is not None:
                    yield _delivered(delivered, entry.at_ns, scheduler.drops)

    def _frames(self) -> Iterator[SimulatedFrame]:
        """Yield the frames of the source with their recorded times.

        A dropped frame gets the median time of each stage.
        """
        steps = [entry for entry in self.entries if isinstance(entry, StepEntry)]
        times = _StageTimes.of(self.entries, steps)
        corrupt = {step.index for step in steps if step.verb == "corrupt"}
        # If `prepare` detected a corrupt frame, the frame has a step `admit` and then a step `corrupt`.
        reads = {step.index: step for step in reversed(steps) if step.verb in ("admit", "corrupt")}
        for index, step in sorted(reads.items()):
            yield SimulatedFrame(
                index=index,
                captured_ns=step.time_ns,
                read_ns=step.at_ns if self.header.live else times.capture.get(index),
                prepare_ns=times.prepare.get(index),
                infer_ns=times.infer.get(index),
                sink_ns=times.sink.get(index),
                corrupt=index in corrupt,
            )


class _Times:
    """Times of one stage in nanoseconds. The keys are the indices of the frames.

    For a frame without a recorded time, the median is used.
    """

    def __init__(self, by_index: Mapping[int, int]) -> None:
        self._by_index = by_index
        self._median = int(statistics.median(by_index.values())) if by_index else 0

    def get(self, index: int) -> int:
        return self._by_index.get(index, self._median)


@dataclass(frozen=True, slots=True)
class _StageTimes:
    capture: _Times
    prepare: _Times
    infer: _Times
    """Times that the inference thread took for inference, decoding, tracking, and the preparation of a cascade's
    crops."""
    sink: _Times

    @classmethod
    def of(cls, entries: Sequence[Entry], steps: Sequence[StepEntry]) -> _StageTimes:
        """Collect the stage times from the entries of a recording."""
        prepared = {entry.index: entry.stages_ms for entry in entries if isinstance(entry, FrameEntry)}
        answered = {entry.index: entry.stages_ms for entry in entries if isinstance(entry, ResultEntry)}
        delivered_ns = {step.index: step.at_ns for step in steps if step.verb == "deliver"}
        done_ns = {step.index: step.at_ns for step in steps if step.verb == "done"}
        prepare = {index: _ns(stages_ms, "prepare") for index, stages_ms in prepared.items()}
        infer = {}
        for index, stages_ms in answered.items():
            # In a cascade, the inference thread also prepares crops. This time is part of the stage `prepare` of
            # the answer.
            crops_ns = max(0, _ns(stages_ms, "prepare") - prepare.get(index, 0))
            infer[index] = _ns(stages_ms, "infer", "decode", "track") + crops_ns
        return cls(
            capture=_Times({index: _ns(stages_ms, "capture") for index, stages_ms in prepared.items()}),
            prepare=_Times(prepare),
            infer=_Times(infer),
            sink=_Times({index: done_ns[index] - at_ns for index, at_ns in delivered_ns.items() if index in done_ns}),
        )


def _repeat(scheduler: FrameScheduler[_Frame], step: StepEntry, frames: dict[int, _Frame]) -> _Frame | None:
    """Repeat a recorded step. If it delivers an answer, return the frame of the answer, else None.

    If the replay has dropped a frame that the recorded loop processed, later steps of this frame are skipped.
    """
    if step.verb == "admit":
        scheduler.admit(step.index, step.time_ns, step.at_ns)
    elif step.verb == "corrupt":
        scheduler.corrupt(step.index, step.at_ns)
    elif step.verb == "invalid":
        scheduler.invalid(step.index, step.at_ns)
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


def _encode(decisions: Iterable[Decision]) -> bytes:
    return b"".join(msgspec.json.encode(decision) + b"\n" for decision in decisions)


def _ns(stages_ms: dict[str, float], *names: str) -> int:
    return int(1e6 * sum(stages_ms.get(name, 0.0) for name in names))
