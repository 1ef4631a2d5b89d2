"""Source that reads image and video files in the natural order of their names.

The files come from a folder, from a folder of class folders, or from a glob, or are numbered images. A file that cannot
be read is reported and skipped.
"""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from orilla.devices.errors import DataError, SourceError
from orilla.devices.gate import read_file
from orilla.devices.names import readable
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.image_file import MAX_IMAGE_BYTES, decode_quietly
from orilla.runtime.preprocessing.image_format import why_undecoded
from orilla.runtime.sources.file_names import is_glob, is_numbered, is_video, media_files, numbered_files
from orilla.runtime.sources.source import Source, now_ns

PERIOD_NS = 40_000_000
"""Time in nanoseconds between the last frame of a video without a frame rate and the first frame of the next video."""


NUMBERED_HZ = 25.0
"""Frame rate of numbered images. Source: FFmpeg's demuxer `image2`."""


class Folder:
    """Delivers one frame per image, and all frames of each video.

    If all files are videos, the times continue from video to video, and the frame rate is that of the first video.
    Otherwise, the frames have no times, unless a rate is given.

    Args:
        paths: The files, in the order in which they are read.
        root: Folder to which the names of the frames are relative.
        rate_hz: Number of images per second, if they are the frames of a video.
    """

    live = False

    def __init__(self, paths: list[Path], root: Path, rate_hz: float | None = None) -> None:
        self._paths, self._root = paths, root
        self._next = self._index = self._first_index = 0
        self._time_ns, self._start_ns = 0, 0
        self._timed = all(is_video(path) for path in paths)
        self._video: Source | None = None
        self._failed: Event | None = None
        self.rate_hz = rate_hz

    @classmethod
    def open(cls, spec: str) -> Folder:
        """Find the files of a folder or of a glob, or numbered files.

        Raises:
            SourceError: There are no images or videos.
        """
        if is_numbered(spec):
            folder = cls(numbered_files(spec), Path(spec).parent, NUMBERED_HZ)
        else:
            root, paths = media_files(spec)
            folder = cls(paths, root)
        if folder._timed:
            folder._failed = folder._open_next()
            folder.rate_hz = None if folder._video is None else folder._video.rate_hz
        return folder

    def read(self) -> Frame | Event | None:
        """Return the next frame or an event, or None at the end."""
        if self._failed is not None:
            first, self._failed = self._failed, None
            return first
        while True:
            if self._video is not None:
                frame = self._read_video(self._video)
                if frame is not None:
                    return frame
            if self._next == len(self._paths):
                return None
            if not is_video(self._paths[self._next]):
                return self._read_image()
            failed = self._open_next()
            if failed is not None:
                return failed

    def close(self) -> None:
        """Release the files."""
        self._paths, self._next = [], 0
        self._close_video()

    def _close_video(self) -> None:
        if self._video is not None:
            self._video.close()
            self._video = None

    def _take(self) -> tuple[Path, str]:
        """Return the next file, and its name relative to the root."""
        path = self._paths[self._next]
        self._next += 1
        name = path.relative_to(self._root) if path != self._root else Path(path.name)
        return path, readable(name.as_posix())

    def _read_image(self) -> Frame | Event:
        path, name = self._take()
        index = self._index
        self._index += 1
        try:
            data = read_file(path, MAX_IMAGE_BYTES)
        except DataError as error:
            return Event("corrupt", index, now_ns(), readable(str(error)))
        captured_ns = now_ns()
        image = decode_quietly(data)
        if image is None:
            return Event("corrupt", index, captured_ns, f"cannot decode {readable(str(path))}: {why_undecoded(data)}")
        time_ns = None if self.rate_hz is None else round(1e9 * index / self.rate_hz)
        return Frame(index, image, captured_ns, name, time_ns=time_ns)

    def _open_next(self) -> Event | None:
        """Open the next video. Return an event if it cannot be opened."""
        from orilla.runtime.sources import video

        path, self._name = self._take()
        self._first_index, self._start_ns = self._index, self._time_ns
        try:
            if not path.is_file():
                msg = f"{readable(str(path))} is a device, a pipe or a broken link, not a file"
                raise SourceError(msg)
            self._video = video.open_source(str(path))
        except SourceError as error:
            return self._skipped(error)
        return None

    def _read_video(self, video: Source) -> Frame | Event | None:
        """Return the next frame or an event of a video, or None at its end."""
        try:
            item = video.read()
        except SourceError as error:
            self._close_video()
            return self._skipped(error)
        if item is None:
            self._close_video()
            return None
        assert isinstance(item, Frame | Event)
        self._index = self._first_index + item.index + 1
        if isinstance(item, Event):
            return replace(item, index=self._index - 1)
        time_ns = self._start_ns + (item.time_ns or 0)
        self._time_ns = time_ns + (round(1e9 / video.rate_hz) if video.rate_hz else PERIOD_NS)
        name = f"{self._name}/{item.index}"
        return replace(item, index=self._index - 1, name=name, time_ns=time_ns if self._timed else None)

    def _skipped(self, error: SourceError) -> Event:
        """Return the event for a video that cannot be read."""
        self._index += 1
        return Event("corrupt", self._index - 1, now_ns(), f"a video is skipped: {error}")


def open_source(spec: str) -> Folder:
    """Open a folder, a glob, numbered images, or one image."""
    path = Path(spec)
    is_single = not (path.is_dir() or is_glob(spec) or is_numbered(spec))
    return Folder([path], path) if is_single else Folder.open(spec)
