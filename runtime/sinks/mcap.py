"""Sink that records answers, events and frames as ROS 2 messages in MCAP files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from orilla.devices.errors import MissingExtraError
from orilla.runtime.frame import Event, Tick
from orilla.runtime.sinks.segments import FileOptions, Segments
from orilla.runtime.sinks.sink import Setup, Sink

if TYPE_CHECKING:
    from orilla.runtime.sinks.mcap_output import McapFile
    from orilla.runtime.sinks.ros_messages import RosMessages

NEEDS_TARGET = True

TOPIC = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)+")

WORST_QUALITY, BEST_QUALITY = 1, 100
"""Range of the JPEG quality."""

DIAGNOSTICS_NS = 1_000_000_000
"""Interval in nanoseconds between two diagnostic messages of a source. ROS 2 nodes usually send one per second."""


class Options(FileOptions, frozen=True, kw_only=True):
    """The options of the sink."""

    frames: bool = False
    """True to also record the image of each frame."""
    quality: int = 85
    """JPEG quality of the images, 1–100."""
    topic: str = "/orilla"
    """First part of the names of all topics except `/diagnostics`."""
    frame_id: str = ""
    """Name of the camera's coordinate frame. If empty, the name of the source or `camera` is used."""
    compression: Literal["zstd", "lz4", "none"] = "zstd"
    """Compression of the chunks."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.append:
            msg = "an MCAP file cannot be continued: use overwrite, or a name with a date"
            raise ValueError(msg)
        if not WORST_QUALITY <= self.quality <= BEST_QUALITY:
            msg = f"quality={self.quality}: expected a number from {WORST_QUALITY} to {BEST_QUALITY}"
            raise ValueError(msg)
        if not TOPIC.fullmatch(self.topic):
            msg = f"topic={self.topic}: expected the name of a ROS topic, such as /rover/camera"
            raise ValueError(msg)


class Mcap(Sink):
    """Writes each tick and event as messages, with the capture time since 1970 as their time."""

    def __init__(self, segments: Segments, messages: RosMessages, options: Options) -> None:
        self._segments, self._messages, self._options = segments, messages, options
        self._diagnosed: dict[str | None, tuple[int, int]] = {}
        """Time in nanoseconds and number of dropped frames of the last diagnostic message of each source."""
        self._file: McapFile | None = self._next_file()

    def write(self, tick: Tick) -> bool:
        """Record one tick."""
        file = self._current()
        for message in self._messages.of_tick(tick):
            file.write(message, self._messages)
        before_ns, dropped = self._diagnosed.get(tick.source, (None, 0))
        if before_ns is None or tick.captured_ns - before_ns >= DIAGNOSTICS_NS:
            self._diagnosed[tick.source] = (tick.captured_ns, tick.dropped)
            file.write(self._messages.diagnostics(tick, dropping=tick.dropped > dropped), self._messages)
        if file.is_due():
            file.end_chunk()
        return True

    def event(self, event: Event) -> None:
        """Record an event, and write all buffered messages, because no tick follows while a camera is lost."""
        file = self._current()
        for message in self._messages.of_event(event):
            file.write(message, self._messages)
        file.end_chunk()

    def close(self) -> None:
        """Finish the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _current(self) -> McapFile:
        if self._file is not None and self._segments.is_full(self._file.size):
            self.close()
        if self._file is None:
            self._file = self._next_file()
        return self._file

    def _next_file(self) -> McapFile:
        from orilla.runtime.sinks.mcap_output import McapFile

        return McapFile(*self._segments.next(), self._options.compression)


def open_sink(target: str, options: Options, setup: Setup) -> Mcap:
    """Open the sink, which writes the files named by `target`.

    Raises:
        MissingExtraError: mcap or rosbags is not installed.
        OutputError: The file exists, or cannot be written.
    """
    try:
        import mcap.writer  # noqa: F401

        from orilla.runtime.sinks.ros_messages import RosMessages
    except ImportError as error:
        msg = "mcap and rosbags"
        raise MissingExtraError(msg, "mcap") from error
    messages = RosMessages(options.topic, options.frame_id, options.quality if options.frames else None)
    segments = Segments(target, options)
    if not options.overwrite:
        _finish_left(segments, setup)
    return Mcap(segments, messages, options)


def _finish_left(segments: Segments, setup: Setup) -> None:
    """Finish files that a killed process left incomplete."""
    from orilla.runtime.sinks.mcap_recovery import finish_file

    for path in segments.existing():
        try:
            removed = finish_file(path)
        except OSError as error:
            setup.report(f"cannot finish {path}, left behind by a killed process: {error.strerror or error}")
        else:
            if removed is not None:
                setup.report(
                    f"finished {path}, left behind by a killed process; {removed} bytes at its end were incomplete"
                )
