"""Source for GStreamer pipelines. OpenCV's wheels lack GStreamer, but Debian's package `python3-opencv` includes it."""

from __future__ import annotations

import cv2

from orilla.devices.errors import ConfigError, SourceError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.sources.capture import CorruptFrames, quiet_capture, rate_of, retrieve
from orilla.runtime.sources.source import READY_BUFFERS, Source, now_ns
from orilla.runtime.sources.time_limit import open_live

PREFIX = "gst:"
"""Optional prefix of the source's specification."""


class Pipeline:
    """Delivers the frames of a pipeline that ends in `appsink`. The capture time is the time of arrival."""

    live = True

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture
        self._pool, self._corrupt = BufferPool(READY_BUFFERS), CorruptFrames("the pipeline")
        self._index = 0
        self.rate_hz = rate_of(capture)

    @classmethod
    def open(cls, pipeline: str) -> Source:
        """Open a pipeline, with or without the prefix `gst:`. The source reopens it when it fails or hangs.

        Raises:
            ConfigError: OpenCV has no GStreamer, or the pipeline does not end in `appsink`.
            SourceError: GStreamer rejects the pipeline.
        """
        text = pipeline.removeprefix(PREFIX).strip()
        if "appsink" not in text:
            msg = f"pipeline {text[:120]!r} must end in `appsink`, as in `v4l2src ! videoconvert ! appsink`"
            raise ConfigError(msg)
        if not _has_gstreamer():
            msg = "the installed OpenCV has no GStreamer: use Debian's python3-opencv, or a URL or a camera number"
            raise ConfigError(msg)
        return open_live(lambda: cls(_opened(text)), "the pipeline")

    def read(self) -> Frame | Event | None:
        """Return the next frame or an event, or None at the end."""
        if not self._capture.grab():
            msg = "the pipeline ended"
            raise SourceError(msg)
        captured_ns, index = now_ns(), self._index
        self._index += 1
        return self._corrupt.check(index, retrieve(self._capture, self._pool), captured_ns)

    def close(self) -> None:
        """Release the source."""
        self._capture.release()


def _has_gstreamer() -> bool:
    return bool(cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER))


def _opened(text: str) -> cv2.VideoCapture:
    capture = quiet_capture(text, cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        msg = f"GStreamer rejects the pipeline {text[:120]!r}: test it with gst-launch-1.0"
        raise SourceError(msg)
    return capture


def open_source(spec: str) -> Source:
    """Open a pipeline."""
    return Pipeline.open(spec)
