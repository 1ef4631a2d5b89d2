"""Convert decoded video frames to BGR images: upright, with square pixels, deinterlaced, in standard dynamic range."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Generic, NamedTuple, TypeVar

import av
import av.filter
import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.preprocessing.image import Image

T = TypeVar("T")

UNSPECIFIED = 2
"""Code for an unspecified colour matrix or transfer function. Source of all colour codes: ITU-T H.273, tables 3 and
4."""

MATRICES = (0, 1, 4, 5, 6, 7, 8, 9)
"""Codes of the colour matrices that FFmpeg converts: RGB, BT.709, FCC, BT.601 (twice), SMPTE 240M, YCgCo, BT.2020.
Frames with any other code, or without a code, are converted with the BT.601 matrix."""

HDR_TRANSFERS = (16, 18)
"""Codes of the transfer functions of high dynamic range: PQ (SMPTE ST 2084) and HLG (ARIB STD-B67)."""

HDR_TO_SDR = ":out_primaries=bt709:out_transfer=bt709"
"""Options of FFmpeg's filter `scale` that convert colours to BT.709. White is at 203 cd/m², and brighter parts are
compressed. Source: ITU-R BT.2408."""

DEINTERLACE = "mode=send_frame:parity=auto:deint=interlaced:threads=1"
"""Options of FFmpeg's filter `bwdif`: it returns one frame for each input frame, and changes only frames that are
marked as interlaced."""

MIN_DEINTERLACED = 4
"""Smallest height and width that `bwdif` accepts, in pixels."""

ROTATED = {90: 8, 180: 3, 270: 6}
"""EXIF orientation by the angle in degrees by which a frame must be rotated counterclockwise."""

SQUARE = Fraction(1)
"""Width of a square pixel divided by its height."""

MAX_ASPECT = 8
"""Largest ratio between the sides of a pixel that is corrected. A larger ratio is treated as an error in the file."""


class _Layout(NamedTuple):
    """The properties of a frame that determine how it is converted."""

    format: str
    size_wh: tuple[int, int]
    aspect: Fraction
    matrix: int
    full_range: int
    hdr: bool
    rotation: int
    interlaced: bool


class FrameConverter(Generic[T]):
    """Converts the frames of one video stream, in order.

    Colours are converted with the matrix (BT.601, BT.709, BT.2020) and the range that the stream states. If the stream
    does not state its matrix, BT.601 is used, as OpenCV and the program `ffmpeg` do. Transparency is ignored.

    Args:
        pool: Buffers for images that must be copied.
    """

    def __init__(self, pool: BufferPool) -> None:
        self._pool = pool
        self._layout: _Layout | None = None
        self._graph = av.filter.Graph()
        self._owns = False
        self._orientation = 1
        self._pushed: deque[tuple[int, T]] = deque()

    def push(self, frame: av.VideoFrame, tag: T, aspect: Fraction | None = None) -> list[tuple[Image, T]]:
        """Convert a frame.

        In an interlaced stream, each image is returned one frame late, so the first result is empty.

        Args:
            frame: Decoded frame. Its `pts` is ignored.
            tag: Any object that is returned with the image of this frame.
            aspect: Width of a pixel divided by its height. If None, pixels are assumed to be square.

        Returns:
            Images `[H,W,3]` uint8 BGR, each with its tag.

        Raises:
            DataError: FFmpeg cannot convert the frame.
        """
        layout = self._layout_of(frame, aspect)
        done: list[tuple[Image, T]] = []
        try:
            if layout != self._layout:
                done = self.flush()
                self._graph, self._layout = _graph(layout), layout
                self._owns = layout.format != "bgr24"
                self._orientation = _orientation_of(frame)
            frame.pts = None
            if layout.matrix == UNSPECIFIED:
                frame.colorspace = UNSPECIFIED
            self._pushed.append((self._orientation, tag))
            self._graph.vpush(frame)
            return done + self._pull()
        except (av.FFmpegError, ValueError, MemoryError) as error:
            self._layout = None
            self._pushed.clear()
            size = f"{frame.width}x{frame.height}"
            msg = f"a frame of {size} with pixel format {frame.format.name} cannot be converted: {reason_of(error)}"
            raise DataError(msg) from error

    def flush(self) -> list[tuple[Image, T]]:
        """Return the images of frames that the filter still buffers. Call this method at the end of the stream."""
        if not self._pushed:
            return []
        self._layout = None
        try:
            self._graph.vpush(None)
            return self._pull()
        finally:
            self._pushed.clear()

    def _layout_of(self, frame: av.VideoFrame, aspect: Fraction | None) -> _Layout:
        if aspect is None or not 1 / MAX_ASPECT <= aspect <= MAX_ASPECT:
            aspect = SQUARE
        size_wh, matrix = (frame.width, frame.height), frame.colorspace
        interlaced = frame.interlaced_frame and min(size_wh) >= MIN_DEINTERLACED
        # After the first interlaced frame, progressive frames also pass through the filter, so that all frames have the
        # same delay.
        interlaced = interlaced or (self._layout is not None and self._layout.interlaced)
        return _Layout(
            frame.format.name,
            size_wh,
            aspect,
            matrix if matrix in MATRICES and (matrix or frame.format.is_rgb) else UNSPECIFIED,
            frame.color_range,
            frame.color_trc in HDR_TRANSFERS,
            frame.rotation,
            interlaced and min(size_wh) >= MIN_DEINTERLACED,
        )

    def _pull(self) -> list[tuple[Image, T]]:
        done = []
        while self._pushed:
            try:
                converted = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                break
            orientation, tag = self._pushed.popleft()
            done.append((_image(converted, orientation, self._pool, owned=self._owns), tag))
        return done


def _graph(layout: _Layout) -> av.filter.Graph:
    """Return a chain of FFmpeg's filters that deinterlaces, scales and converts frames to BGR.

    Each filter works in the calling thread, because the loop needs the other cores.
    """
    width, height = layout.size_wh
    graph = av.filter.Graph()
    source = graph.add(
        "buffer",
        f"video_size={width}x{height}:pix_fmt={layout.format}:time_base=1/1000:pixel_aspect=1/1"
        f":colorspace={layout.matrix}:range={layout.full_range}",
    )
    chain = [source]
    if layout.interlaced:
        chain.append(graph.add("bwdif", DEINTERLACE))
    if layout.aspect >= 1:
        width = round(width * layout.aspect)
    else:
        height = round(height / layout.aspect)
    chain.append(graph.add("scale", f"w={width}:h={height}:flags=bicubic:threads=1" + HDR_TO_SDR * layout.hdr))
    chain += [graph.add("format", "pix_fmts=bgr24"), graph.add("buffersink")]
    graph.link_nodes(*chain).configure()
    return graph


def _orientation_of(frame: av.VideoFrame) -> int:
    """Return the EXIF orientation (1–8) that corresponds to the display matrix in the frame's side data.

    The side data and the frame refer to each other, so they stay in memory until Python's next garbage collection. Call
    this function only for the first frame of each layout.

    Source: ISO/IEC 14496-12, 6.2.2. A point (x, y) is shown at (a·x + c·y, b·x + d·y).
    """
    try:
        entries: Any = frame.side_data
        matrices = [data for data in entries if data.type.name == "DISPLAYMATRIX"]
    except ValueError:  # This version of PyAV does not know the type of other side data, such as EXIF.
        return ROTATED.get(frame.rotation % 360, 1)
    if not matrices:
        return 1
    a, b, _, c, d, *_ = np.frombuffer(matrices[0], np.int32).tolist()
    flips = ((False, False), (True, False), (True, True), (False, True))
    return 1 + flips.index((a < 0, d < 0)) if abs(a) >= abs(b) else 5 + flips.index((c < 0, b < 0))


_UPRIGHT: tuple[Callable[[NDArray[Any], NDArray[Any]], object], ...] = (
    lambda image, out: np.copyto(out, image),
    lambda image, out: cv2.flip(image, 1, dst=out),
    lambda image, out: cv2.rotate(image, cv2.ROTATE_180, dst=out),
    lambda image, out: cv2.flip(image, 0, dst=out),
    lambda image, out: cv2.transpose(image, dst=out),
    lambda image, out: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE, dst=out),
    lambda image, out: cv2.rotate(cv2.transpose(image), cv2.ROTATE_180, dst=out),
    lambda image, out: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE, dst=out),
)
"""For each EXIF orientation, 1–8: the function that copies an image into a buffer and turns it upright."""


def _image(frame: av.VideoFrame, orientation: int, pool: BufferPool, *, owned: bool) -> Image:
    """Return the image of a BGR frame, upright and with contiguous rows.

    If the frame has this form already, the image shares its memory. FFmpeg reuses the memory when nothing refers to the
    frame.

    Args:
        frame: Frame in the pixel format `bgr24`.
        orientation: EXIF orientation of the frame, 1–8.
        pool: Buffers for images that must be copied.
        owned: False if the memory may belong to the decoder, so that it must be copied.
    """
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload]
    height, width = frame.height, frame.width
    image: Image = rows[:height, : 3 * width].reshape(height, width, 3)
    if owned and orientation == 1 and plane.line_size == 3 * width:
        return image
    buffer = pool.take((height, width, 3) if orientation <= 4 else (width, height, 3))
    _UPRIGHT[orientation - 1](image, buffer)
    return buffer


def reason_of(error: Exception) -> str:
    """Return the message of an FFmpeg error, without its number and the file name."""
    return getattr(error, "strerror", None) or str(error)
