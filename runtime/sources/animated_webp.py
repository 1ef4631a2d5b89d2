"""Source for animated WebP files. OpenCV decodes them, because FFmpeg does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import SourceError
from orilla.devices.names import readable
from orilla.runtime.frame import Frame
from orilla.runtime.preprocessing.image_file import as_bgr
from orilla.runtime.sources.source import now_ns

MS_NS = 1_000_000
"""Nanoseconds in a millisecond."""


DEFAULT_MS = 100
"""Time in milliseconds for which an image with a stated duration of 0 is shown. Browsers do the same, and so does
FFmpeg for GIF."""


class AnimatedWebp:
    """Delivers the images of an animation, with the time of each image in it.

    Args:
        images: The images, `[H,W,3]` or `[H,W,4]` uint8.
        durations_ms: Time in milliseconds for which each image is shown.
    """

    live = False

    def __init__(self, images: Sequence[NDArray[Any]], durations_ms: Sequence[int]) -> None:
        self._images = images
        self._ends_ms = np.cumsum(durations_ms).tolist()
        total_ms = self._ends_ms[-1]
        self.rate_hz = 1e3 * len(images) / total_ms if total_ms else None
        self._index = 0

    @classmethod
    def open(cls, path: Path) -> AnimatedWebp:
        """Decode a file. Raise `SourceError` if it cannot be decoded."""
        name = readable(str(path))
        decode = getattr(cv2, "imdecodeanimation", None)
        if decode is None:
            msg = f"{name} is an animated WebP image, which needs OpenCV 4.11: pip install -U opencv-python-headless"
            raise SourceError(msg)
        try:
            done, animation = decode(np.frombuffer(path.read_bytes(), np.uint8))
        except OSError as error:
            msg = f"cannot read {name}: {error.strerror or error}"
            raise SourceError(msg) from error
        except cv2.error as error:
            done, animation = False, error
        if not done or not animation.frames:
            msg = f"{name} is an animated WebP image, but it is damaged: copy or download it again"
            raise SourceError(msg)
        return cls(animation.frames, [int(duration) or DEFAULT_MS for duration in animation.durations])

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end."""
        index = self._index
        if index == len(self._images):
            return None
        self._index += 1
        time_ms = self._ends_ms[index - 1] if index else 0
        return Frame(index, as_bgr(self._images[index]), now_ns(), time_ns=time_ms * MS_NS)

    def close(self) -> None:
        """Release the images."""
        self._images, self._index = [], 0
