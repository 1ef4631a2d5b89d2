"""Write and read recordings of a loop: decisions, stage times, drops, events and results, but no images.

A recording is a file with one JSON document per line. `docs/recording.md` describes it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec

from orilla.devices.errors import DataError, OutputError, neighbour
from orilla.devices.gate import reason_of
from orilla.runtime.frame import Event, Frame, Line, Record, Result
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.scheduler import Reason, Verb
from orilla.runtime.sources.source import Source

SCHEMA = 1

MAX_LINE = 256 << 20
"""Maximum length of a line in bytes."""

Nanoseconds = Annotated[int, msgspec.Meta(ge=-(1 << 62), le=1 << 62)]
Index = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Header(msgspec.Struct, frozen=True, tag_field="line", tag="header", omit_defaults=True):
    """The first line, which describes the loop."""

    schema: int
    policy: str
    live: bool
    """True for a live source."""
    rate_hz: Annotated[float, msgspec.Meta(gt=0, le=1e9)] | None = None
    """Frame rate of the source in frames per second. None if the source has no frame rate."""
    models: dict[str, str] = {}
    """Variant and engine of each model. The keys are the names."""
    unix_offset_ns: Nanoseconds = 0
    """Unix time minus the time on the monotonic clock, both at the start of the loop, in nanoseconds."""


class StepEntry(msgspec.Struct, frozen=True, tag_field="line", tag="step", omit_defaults=True):
    """A step of a frame that the loop reported to its scheduler."""

    verb: Verb
    at_ns: Nanoseconds
    index: Index
    time_ns: Nanoseconds = 0
    """For the verb `admit`, the capture time or, for a recorded source with a frame rate, the time from its start to
    the frame. 0 for other verbs."""


class DropEntry(msgspec.Struct, frozen=True, tag_field="line", tag="drop"):
    """A dropped frame."""

    at_ns: Nanoseconds
    index: Index
    reason: Reason


class FrameEntry(msgspec.Struct, frozen=True, tag_field="line", tag="frame"):
    """Entry for a frame that is ready for inference."""

    index: Index
    captured_ns: Nanoseconds
    stages_ms: dict[str, Milliseconds]


class ResultEntry(msgspec.Struct, frozen=True, tag_field="line", tag="result"):
    """An answered frame."""

    index: Index
    stages_ms: dict[str, Milliseconds]
    result: dict[str, Any]


class EventEntry(msgspec.Struct, frozen=True, tag_field="line", tag="event"):
    """An event of the source or of an accelerator."""

    kind: str
    index: Index
    at_ns: Nanoseconds
    detail: str


Entry = Header | StepEntry | DropEntry | FrameEntry | ResultEntry | EventEntry
"""One line of a recording."""


class Recording:
    """Writes a recording. If the process is killed, every line except perhaps the last is complete."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self._path, self._stream = path, stream
        self._encoder = msgspec.json.Encoder()
        self._failure: OSError | None = None

    @classmethod
    def create(cls, path: str | Path, policy: Policy, source: Source, models: Mapping[str, str]) -> Recording:
        """Create a recording and write its header.

        Args:
            path: Path of a new file. It may contain directives of `strftime`, which are replaced with the local time.
            policy: Policy of the loop.
            source: Source of the loop.
            models: Variant and engine of each model, by name.

        Raises:
            OutputError: The file exists, or cannot be written.
        """
        named = Path(datetime.now().astimezone().strftime(str(path)))
        try:
            stream = named.open("xb", buffering=0)
        except FileExistsError as error:
            dated = f"{named.stem}-%Y%m%d-%H%M%S{named.suffix}"
            msg = f"{named} already exists: choose another file name, or one with a date, as in {dated}"
            raise OutputError(msg) from error
        except OSError as error:
            msg = f"cannot write {named}: {error.strerror or error}"
            raise OutputError(msg) from error
        recording = cls(named, stream)
        offset_ns = time.time_ns() - time.monotonic_ns()
        recording._write(Header(SCHEMA, str(policy), source.live, source.rate_hz, dict(models), offset_ns))
        return recording

    def step(self, verb: Verb, at_ns: int, index: int, time_ns: int) -> None:
        """Record one step of the scheduler."""
        self._write(StepEntry(verb, at_ns, index, time_ns))

    def dropped(self, at_ns: int, index: int, reason: Reason) -> None:
        """Record a dropped frame."""
        self._write(DropEntry(at_ns, index, reason))

    def event(self, event: Event) -> None:
        """Record an event of the source or of an accelerator."""
        detail = event.detail.encode(errors="replace").decode()
        self._write(EventEntry(event.kind, event.index, event.at_ns, detail))

    def prepared(self, frame: Frame | Line | Record, stages_ms: dict[str, float]) -> None:
        """Record a frame and the times of its stages so far."""
        self._write(FrameEntry(frame.index, frame.captured_ns, dict(stages_ms)))

    def answered(self, frame: Frame | Line | Record, stages_ms: dict[str, float], result: Result) -> None:
        """Record the result of a frame."""
        self._write(ResultEntry(frame.index, dict(stages_ms), dict(result.to_dict())))

    def close(self) -> None:
        """Finish the file. Raise `OutputError` if it could not be written."""
        self._stream.close()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            msg = f"cannot write {self._path}: {failure.strerror or failure}"
            raise OutputError(msg) from failure

    def _write(self, entry: Entry) -> None:
        # A full disk does not stop the loop, because the answers matter more than the recording. `close` reports it.
        if self._failure is None and not self._stream.closed:
            try:
                self._stream.write(self._encoder.encode(entry) + b"\n")
            except OSError as error:
                self._failure = error


def read(path: str | Path) -> Iterator[Entry]:
    """Yield the entries of a recording, beginning with the header.

    If the last line is incomplete, because the process was killed, it is skipped.

    Raises:
        DataError: The file is not a recording, is damaged, or has an unknown version.
    """
    decoder = msgspec.json.Decoder(Entry)
    try:
        with Path(path).open("rb") as stream:
            for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE), b""), 1):
                if number > 1 and not line.endswith(b"\n"):
                    return
                try:
                    entry = decoder.decode(line)
                except Exception as error:
                    msg = f"{path} line {number} is not valid in a recording: {reason_of(error)}"
                    raise DataError(msg) from error
                if (number == 1) != isinstance(entry, Header):
                    msg = f"{path} line {number}: a recording must have exactly one header, in its first line"
                    raise DataError(msg)
                if isinstance(entry, Header) and entry.schema != SCHEMA:
                    msg = f"{path} is a recording of version {entry.schema}, but this Orilla reads version {SCHEMA}"
                    raise DataError(msg)
                yield entry
    except OSError as error:
        near = neighbour(Path(path)) if isinstance(error, FileNotFoundError) else ""
        msg = f"cannot read {path}: {error.strerror or error}{near}"
        raise DataError(msg) from error
