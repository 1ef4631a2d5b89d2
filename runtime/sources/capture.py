"""Functions for sources that read from an OpenCV capture, and checks of the captured frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np

from orilla.devices.errors import DataError, SourceError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.preprocessing.image import Image
from orilla.runtime.preprocessing.image_file import as_bgr
from orilla.runtime.sources.source import now_ns
from orilla.runtime.stdio import hidden_stderr

MAX_CORRUPT = 100
"""Number of consecutive unusable frames after which a live source counts as lost."""


def decoding_threads(count: int) -> list[int]:
    """Return the capture setting that limits the number of FFmpeg's threads.

    The result is empty if OpenCV has no such setting.
    """
    return [cv2.CAP_PROP_N_THREADS, count] if hasattr(cv2, "CAP_PROP_N_THREADS") else []


def quiet_capture(target: str | int, backend: int, settings: Sequence[int] = ()) -> cv2.VideoCapture:
    """Open a capture and suppress OpenCV's messages, because Orilla reports errors itself.

    Args:
        target: A file, URL, pipeline or camera.
        backend: OpenCV's backend, such as `cv2.CAP_FFMPEG`.
        settings: Pairs of capture property and value, in one flat list.
    """
    with _quiet():
        return cv2.VideoCapture(target, backend, list(settings)) if settings else cv2.VideoCapture(target, backend)


@contextmanager
def _quiet() -> Iterator[None]:
    logging = getattr(cv2.utils, "logging", None)
    if logging is None:  # Debian's OpenCV 4.6, which includes GStreamer, lacks this function.
        with hidden_stderr():
            yield
        return
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


def rate_of(capture: cv2.VideoCapture) -> float | None:
    """Return the frame rate that the capture reports, or None if the value is not plausible."""
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    return rate if 0 < rate <= 1000 else None


def retrieve(capture: cv2.VideoCapture, pool: BufferPool) -> Image | None:
    """Decode the grabbed frame, into a buffer of `pool` if the size matches. Return None if it cannot be decoded."""
    width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    buffer = pool.take((height, width, 3)) if width > 0 and height > 0 else None
    try:
        ok, image = capture.retrieve(buffer)
    except cv2.error:
        return None
    return image if ok and isinstance(image, np.ndarray) else None


class CorruptFrames:
    """Checks the frames of a live source.

    An unusable frame is reported as an event. After `MAX_CORRUPT` unusable frames in a row, the source counts as lost.

    Args:
        name: Name of the source in messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._in_a_row = 0

    def check(
        self, index: int, image: Image | None, captured_ns: int, why: str = "it cannot be decoded"
    ) -> Frame | Event:
        """Return a frame with the image in BGR, or an event if the image is None or cannot be used.

        Args:
            index: Index of the frame.
            image: The image, or None.
            captured_ns: Capture time on the monotonic clock, in nanoseconds.
            why: Reason why the image is None.

        Raises:
            SourceError: `MAX_CORRUPT` frames in a row were unusable.
        """
        try:
            if image is None:
                raise DataError(why)
            frame = Frame(index, as_bgr(image), captured_ns)
        except DataError as error:
            self._in_a_row += 1
            if self._in_a_row >= MAX_CORRUPT:
                msg = f"{self._name} delivered {MAX_CORRUPT} unusable frames in a row"
                raise SourceError(msg) from error
            return Event("corrupt", index, now_ns(), f"frame {index} of {self._name} is skipped: {error}")
        self._in_a_row = 0
        return frame
