"""Sink that keeps short videos of what happened before and after an event."""

from __future__ import annotations

from typing import Literal

import msgspec

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.frame import Event, Frame, Tick
from orilla.runtime.sinks.clip_encoder import ClipEncoder, Coded, Ring
from orilla.runtime.sinks.clip_file import ClipFile
from orilla.runtime.sinks.clip_triggers import Trigger, TriggerNames, Triggers
from orilla.runtime.sinks.lines import repair
from orilla.runtime.sinks.options import ByteCount, Duration
from orilla.runtime.sinks.segments import FileOptions, Segments
from orilla.runtime.sinks.sink import Setup, Sink
from orilla.runtime.sinks.video_files import VideoClock, check_crf, format_of, report_left

NEEDS_TARGET = True
PER_SOURCE = True

BESIDE = ".jsonl"
"""Suffix of the file beside each video, with the triggers and the answers."""


class Options(FileOptions, frozen=True, kw_only=True):
    """The options of the sink."""

    before: Duration = Duration(5)
    """Time in seconds before the trigger that a clip shows."""
    after: Duration = Duration(5)
    """Time in seconds after the last trigger that a clip shows."""
    on: TriggerNames = TriggerNames(("doubt", "lost", "invalid", "engine"))
    """Triggers that begin a clip: kinds of events, names of doubts, `doubt`, `change` or `nothing`."""
    label: TriggerNames = TriggerNames()
    """Classes that begin a clip when they appear in the result, and prolong it while they stay."""
    draw: Literal["result", "nothing"] = "result"
    """`result` draws the result on the frames, and `nothing` leaves them unchanged."""
    crf: int = 23
    """Constant rate factor of H.264, as for the sink `video`."""
    memory: ByteCount = ByteCount(64_000_000)
    """Maximum number of bytes of encoded frames that wait for a trigger."""
    every: Duration | None = Duration(300)
    """Maximum duration of a clip in seconds. After that, it continues in another file."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.append or self.overwrite:
            msg = "append and overwrite are not possible for clips: each clip is a new file"
            raise ValueError(msg)
        self.on.check()
        check_crf(self.crf)


class Clips(Sink):
    """Encodes all frames, and writes those around a trigger to a file.

    A trigger during a clip prolongs it. The first image of a clip sets the size, and later images are scaled to it.
    """

    def __init__(self, target: str, options: Options, setup: Setup) -> None:
        self._format, self._options, self._setup = format_of("clip", target), options, setup
        self._triggers = Triggers(options.on, options.label, setup.labels)
        self._segments = Segments(target, options, companion=BESIDE, numbered=True)
        self._segments.check()
        _recover(self._segments, setup)
        self._clock, self._shown_s = VideoClock(setup), 0.0
        self._encoder: ClipEncoder | None = None
        self._ring = Ring(options.before, options.memory, self._report_limit)
        self._file: ClipFile | None = None
        self._waiting: list[Trigger] = []
        """Triggers that wait for the first frame of their clip."""
        self._start_s = self._end_s = 0.0
        """Times in the source at which the newest clip begins and ends, in seconds."""

    @property
    def held(self) -> int:
        """Return the number of bytes of encoded frames that wait for a trigger."""
        return self._ring.size

    def write(self, tick: Tick) -> bool:
        """Encode the frame of one tick, and write it if it belongs to a clip."""
        self._shown_s = self._clock.advance(tick)
        now_s = self._clock.source_s
        triggers = self._triggers.of_tick(tick)
        if now_s > self._end_s:
            self._waiting.clear()
            if not triggers and not self._triggers.holds:
                self._finish()
        for trigger in triggers:
            self._begin(trigger, now_s)
        if self._triggers.holds:
            self._end_s = max(self._end_s, now_s + self._options.after)
        for coded in self._encode(tick):
            self._ring.add(coded)
            if self._file is not None:
                self._write(self._file, coded)
            elif self._waiting:
                self._open()
        return True

    def event(self, event: Event) -> None:
        """Begin a clip if the event is a trigger."""
        trigger = self._triggers.of_event(event)
        # The times of a live source are those of the monotonic clock.
        now_s = event.at_ns / 1e9 if self._setup.live else self._clock.source_s
        if trigger is not None:
            self._begin(trigger, now_s)
        elif now_s > self._end_s:
            self._finish()

    def close(self) -> None:
        """Finish the clip."""
        self._finish()

    def _begin(self, trigger: Trigger, at_s: float) -> None:
        """Begin a clip, or prolong the one that is being written."""
        self._end_s = max(self._end_s, at_s + self._options.after)
        if self._file is not None:
            self._file.write_trigger(trigger, self._shown_s)
            return
        if not self._waiting:
            self._start_s = at_s - self._options.before
        self._waiting.append(trigger)
        self._open()

    def _open(self) -> None:
        """Start the file of a clip with the frames in memory, if there are any."""
        frames = self._ring.since(self._start_s)
        if not frames:
            return
        self._file = self._next_file(frames[0])
        triggers, self._waiting = self._waiting, []
        for trigger in triggers:
            self._file.write_trigger(trigger, self._shown_s)
        for coded in frames:
            self._file.write(coded)

    def _write(self, file: ClipFile, coded: Coded) -> None:
        """Write a frame to the clip. If the clip is too long, continue it in another file."""
        if coded.is_key and self._segments.is_full(file.size):
            continued = file.path
            self._finish()
            file = self._file = self._next_file(coded)
            file.write_continued(continued)
        file.write(coded)

    def _next_file(self, first: Coded) -> ClipFile:
        assert self._encoder is not None
        path, file = self._segments.next()
        beside = self._segments.companion(path)
        if not path.is_file() or beside is None:
            file.close()
            msg = f"cannot write {path}: a clip must be written to a regular file"
            raise OutputError(msg)
        return ClipFile(path, file, beside, kind=self._format, encoder=self._encoder, first=first)

    def _finish(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _encode(self, tick: Tick) -> list[Coded]:
        if not isinstance(tick.frame, Frame):
            msg = "there is no image for a clip: use the sink `jsonl`"
            raise ConfigError(msg)
        image = tick.draw() if self._options.draw == "result" else tick.frame.image
        size_wh = (image.shape[1], image.shape[0])
        if self._encoder is None or (self._encoder.size_wh != size_wh and self._file is None):
            self._encoder = ClipEncoder(self._format, self._clock.rate_hz, self._options.crf, size_wh)
            self._ring.clear()
        line = msgspec.json.encode(tick.to_dict())
        return self._encoder.encode(image, self._clock.source_s, self._shown_s, line)

    def _report_limit(self, covered_s: float) -> None:
        self._setup.report(
            f"memory={self._options.memory / 1e6:g}MB holds {covered_s:.1f} s of frames, which is less than "
            f"before={self._options.before:g}s: clips begin later; give more memory, or a larger crf"
        )


def _recover(segments: Segments, setup: Setup) -> None:
    """Report a clip that a killed process left unfinished, and repair its file of JSON lines."""
    left = report_left(segments, setup)
    beside = None if left is None else segments.companion(left)
    if left is None or beside is None or not beside.exists():
        return
    if left.exists():
        repair(beside, setup)
    else:
        beside.unlink()


def open_sink(target: str, options: Options, setup: Setup) -> Clips:
    """Open the sink, which writes the clips named by `target`."""
    return Clips(target, options, setup)
