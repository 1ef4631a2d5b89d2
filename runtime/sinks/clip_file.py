"""One clip: a video file, and a file of JSON lines beside it with the triggers and the answers."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import msgspec

from orilla.devices.errors import OutputError
from orilla.runtime.frame import wall_time
from orilla.runtime.sinks.clip_encoder import ClipEncoder, Coded
from orilla.runtime.sinks.clip_triggers import Trigger
from orilla.runtime.sinks.video_files import Format, WholeFile, output_error


class ClipFile:
    """Writes one clip. Every frame and every line is written at once, so a killed process loses little.

    Args:
        path: Path of the video.
        file: The open file of the video.
        beside: Path of the JSON lines.
        kind: Format of the video.
        encoder: Encoder of the frames.
        first: First frame of the clip, which must be a keyframe.

    Raises:
        OutputError: A file cannot be written.
    """

    def __init__(  # noqa: PLR0913 - all are needed at once
        self, path: Path, file: BinaryIO, beside: Path, *, kind: Format, encoder: ClipEncoder, first: Coded
    ) -> None:
        import av

        self.path = path
        """Path of the video."""
        self._file, self._time_base = WholeFile(file), Fraction(encoder.time_base)
        self._first = first
        try:
            self._lines = beside.open("xb", buffering=0)
        except OSError as error:
            file.close()
            path.unlink(missing_ok=True)
            raise output_error(beside, error) from error
        self._beside = beside
        try:
            options = {**kind.container_options, "flush_packets": "1"}
            self._container = av.open(self._file, "w", format=kind.name, options=options)
            self._stream = self._container.add_stream_from_template(encoder.stream)
        except (OSError, ValueError, av.FFmpegError) as error:
            raise output_error(path, error) from error

    @property
    def size(self) -> int:
        """Return the number of video bytes written so far."""
        return self._file.tell()

    def write(self, coded: Coded) -> None:
        """Write one frame and the line of its answer.

        Raises:
            OutputError: The disk is full.
        """
        import av

        packet = av.Packet(coded.data)
        packet.stream, packet.time_base = self._stream, self._time_base
        packet.pts = packet.dts = coded.pts - self._first.pts
        packet.is_keyframe = coded.is_key
        self._file.mark()
        try:
            self._container.mux(packet)
        except (OSError, ValueError, av.FFmpegError) as error:
            raise output_error(self.path, error) from error
        self._write_line(b'{"clip_s":%.3f,' % self._clip_s(coded.shown_s) + coded.line[1:])

    def write_trigger(self, trigger: Trigger, shown_s: float) -> None:
        """Write the line of a trigger, which happened at the time `shown_s` in a video of the whole loop."""
        self._write_line(
            msgspec.json.encode(
                {
                    "clip_s": round(self._clip_s(shown_s), 3),
                    "trigger": trigger.name,
                    "detail": trigger.detail,
                    "at_ns": trigger.at_ns,
                    "at": wall_time(trigger.at_ns),
                }
            )
        )

    def write_continued(self, path: Path) -> None:
        """Write a line with the name of the clip that this one continues."""
        self._write_line(msgspec.json.encode({"clip_s": 0.0, "continues": path.name}))

    def close(self) -> None:
        """Finish the files.

        Raises:
            OutputError: The end of the video cannot be written.
        """
        import av

        try:
            self._container.close()
        except (OSError, ValueError, av.FFmpegError) as error:
            raise output_error(self.path, error) from error
        finally:
            self._lines.close()
            self._file.close()

    def _clip_s(self, shown_s: float) -> float:
        return max(0.0, shown_s - self._first.shown_s)

    def _write_line(self, line: bytes) -> None:
        line += b"\n"
        size = self._lines.tell()
        try:
            written = self._lines.write(line)
            while written < len(line):
                written += self._lines.write(line[written:])
        except OSError as error:
            self._lines.truncate(size)
            msg = f"cannot write {self._beside}: {error.strerror or error}"
            raise OutputError(msg) from error
