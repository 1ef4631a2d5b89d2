"""The JPEG pictures of one source. Each picture is drawn and encoded only once, and only if there are viewers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Generic, NamedTuple, TypeVar

import cv2

from orilla.runtime.frame import Frame, Tick
from orilla.runtime.sinks.web_board import Board

T = TypeVar("T")


Draw = Callable[[Tick], Awaitable[bytes]]
"""Function that draws and encodes a tick."""


class PictureOptions(NamedTuple):
    """Settings for drawing and encoding pictures."""

    fps: float
    """Maximum number of pictures per second."""
    quality: int
    """JPEG quality, 1–100."""
    max_side: int
    """Maximum width and height in pixels."""


class Picture(NamedTuple):
    """An encoded picture, and the tick that it shows."""

    tick: Tick
    jpeg: bytes


class Newest(Generic[T]):
    """Holds the newest value. Each reader waits for a value that it has not read yet. Slow readers skip values."""

    def __init__(self) -> None:
        self._value: T | None = None
        self._number = 0
        self._changed = asyncio.Event()

    def publish(self, value: T | None) -> None:
        """Replace the value. None means that no further value follows."""
        self._value, self._number = value, self._number + 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def after(self, number: int, limit_s: float | None = None) -> tuple[int, T | None]:
        """Wait for a value with a number above `number`, for at most `limit_s` seconds.

        Returns:
            The number of the newest value, and the value.
        """
        with suppress(asyncio.TimeoutError):  # Since Python 3.11, this is the built-in `TimeoutError`.
            await asyncio.wait_for(self._reach(number), limit_s)
        return self._number, self._value

    async def _reach(self, number: int) -> None:
        while self._number <= number:
            await self._changed.wait()


class Pictures:
    """Draws and encodes the newest tick of one source while there are viewers.

    All methods run in the event loop of the server.

    Args:
        source: Name of the source.
        board: The newest ticks.
        draw: Function that draws and encodes a tick in another thread.
        fps: Maximum number of pictures per second.
    """

    def __init__(self, source: str, board: Board, draw: Draw, fps: float) -> None:
        self._source, self._board, self._draw, self._period_s = source, board, draw, 1 / fps
        self._lock = asyncio.Lock()
        self._last: Picture | None = None
        self._task: asyncio.Task[None] | None = None
        self.newest: Newest[Picture] = Newest()
        """The newest picture."""
        self.viewers = 0
        """Number of viewers of the stream."""

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Newest[Picture]]:
        """Context manager that counts a viewer. Pictures are produced while there is at least one."""
        self.viewers += 1
        if self._task is None:
            self.newest = Newest()  # The picture from the time of an earlier viewer is outdated.
            self._task = asyncio.create_task(self._produce())
        try:
            yield self.newest
        finally:
            self.viewers -= 1
            if not self.viewers and self._task is not None:
                self._task.cancel()
                self._task = None

    async def snapshot(self) -> Picture | None:
        """Return a picture of the newest tick, or None if there is no tick with an image."""
        async with self._lock:
            tick = self._board.newest(self._source)
            if tick is None or not isinstance(tick.frame, Frame):
                return None
            if self._last is None or self._last.tick is not tick:
                self._last = Picture(tick, await self._draw(tick))
            return self._last

    async def _produce(self) -> None:
        loop = asyncio.get_running_loop()
        shown: Tick | None = None
        while True:
            due = loop.time() + self._period_s
            if (picture := await self.snapshot()) is not None and picture.tick is not shown:
                shown = picture.tick
                self.newest.publish(picture)
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self._newer_than(shown)

    async def _newer_than(self, tick: Tick | None) -> None:
        """Wait until the source has a newer tick."""
        loop, fresh = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # The event loop has ended.
                loop.call_soon_threadsafe(fresh.set)

        self._board.wake_after(tick, self._source, wake)
        await fresh.wait()


def encode(tick: Tick, options: PictureOptions) -> bytes:
    """Return the annotated frame of a tick as JPEG."""
    image = tick.draw()
    height, width = image.shape[:2]
    scale = options.max_side / max(height, width)
    if scale < 1:
        size_wh = max(1, round(scale * width)), max(1, round(scale * height))
        image = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, options.quality))
    return data.tobytes()
