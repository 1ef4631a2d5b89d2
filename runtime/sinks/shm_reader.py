"""Read the ticks that the sink `shm` writes in another process."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import SourceError
from orilla.runtime.sinks.shm_layout import (
    CLOSED,
    FOLDER,
    HEADER,
    HEADER_BYTES,
    MAGIC,
    OPEN,
    SLOT,
    SLOT_BYTES,
    VERSION,
    Header,
    Slot,
)

POLL_S = 1e-3
"""Interval in seconds at which the segment is checked for a new tick."""

LIFE_S = 0.5
"""Number of seconds without a tick after which iteration checks whether the writer is still running."""


class SharedTick(NamedTuple):
    """A tick that another process has written."""

    number: int
    """Serial number of the tick, counted from 1. A gap in the numbers means that ticks were not read."""
    captured_ns: int
    """Capture time on the monotonic clock, in nanoseconds. All processes of a machine share this clock."""
    captured_wall_ns: int
    """Capture time in nanoseconds since 1970."""
    document: dict[str, Any]
    """The JSON document, as in `docs/json.md`."""
    image: NDArray[np.uint8] | None
    """Copy of the frame `[H,W,3]` uint8 BGR. None if the sink writes no frames."""


class SharedTicks:
    """Reads the newest tick in a shared-memory segment.

    It never delays the writer, and never returns a half-written tick.

    Iterate over it to wait for each new tick until the loop ends:

        with SharedTicks("rover") as ticks:
            for tick in ticks:
                print(tick.document["result"])

    Args:
        name: Name of the segment, as in `shm:NAME`.
        wait_s: Number of seconds to wait for the segment to exist.

    Raises:
        SourceError: The segment does not exist, or does not belong to the sink `shm`.
    """

    def __init__(self, name: str, wait_s: float = 0.0) -> None:
        self._name = name.removeprefix("/")
        self._last = 0
        self._file, self._map = self._attach(wait_s)

    def read(self) -> SharedTick | None:
        """Return the newest tick, or None if there has been no new tick since the last call."""
        while True:
            header = self._header()
            if header.written > self._last:
                tick = self._copy(header)
                if tick is not None:
                    self._last = tick.number
                    return tick
            elif header.state in (OPEN, CLOSED) or not self._follow():
                return None

    @property
    def ended(self) -> bool:
        """Return True if the writer has ended or was killed."""
        state = self._header().state
        if state != OPEN:
            return state == CLOSED or not self._follow(LIFE_S)
        try:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False  # The writer holds the lock as long as it runs.
        fcntl.flock(self._file, fcntl.LOCK_UN)
        return True

    def __iter__(self) -> Iterator[SharedTick]:
        heard_s = time.monotonic()
        while True:
            tick = self.read()
            if tick is not None:
                yield tick
                heard_s = time.monotonic()
                continue
            if self._header().state == CLOSED:
                return
            if time.monotonic() - heard_s >= LIFE_S:
                if self.ended:
                    return
                heard_s = time.monotonic()
            time.sleep(POLL_S)

    def close(self) -> None:
        """Detach from the segment."""
        self._map.close()
        os.close(self._file)

    def __enter__(self) -> SharedTicks:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _header(self) -> Header:
        return Header._make(HEADER.unpack_from(self._map, 0))

    def _copy(self, header: Header) -> SharedTick | None:
        """Copy the newest tick. Return None if the writer changed it during the copy."""
        number = header.written
        at = HEADER_BYTES + (number - 1) % header.slots * header.slot_size
        end = SLOT.unpack_from(self._map, at)[1]
        slot = Slot._make(SLOT.unpack_from(self._map, at))
        size = slot.height * slot.width * 3
        if end != number or slot.image_at + size > header.slot_size:
            return None
        text = self._map[at + SLOT_BYTES : at + SLOT_BYTES + slot.json_bytes]
        pixels = self._map[at + slot.image_at : at + slot.image_at + size]
        if SLOT.unpack_from(self._map, at)[0] != number:
            return None
        image = np.frombuffer(bytearray(pixels), np.uint8).reshape(slot.height, slot.width, 3) if size else None
        return SharedTick(number, slot.captured_ns, slot.captured_wall_ns, json.loads(text), image)

    def _follow(self, wait_s: float = 0.0) -> bool:
        """Attach to the segment that replaces this one. Return False if it does not exist yet."""
        with suppress(SourceError):
            file, mapped = self._attach(wait_s)
            self.close()
            self._file, self._map = file, mapped
            return True
        return False

    def _attach(self, wait_s: float) -> tuple[int, mmap.mmap]:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                return self._open()
            except (FileNotFoundError, _UnfinishedError) as error:
                if time.monotonic() >= deadline:
                    msg = f"there is no shared-memory segment {self._name}: start a loop with --sink shm:{self._name}"
                    raise SourceError(msg) from error
            except SourceError:
                raise
            except OSError as error:
                msg = f"cannot read the segment {self._name}: {error.strerror or error}"
                raise SourceError(msg) from error
            time.sleep(POLL_S)

    def _open(self) -> tuple[int, mmap.mmap]:
        file = os.open(FOLDER / self._name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(file).st_size < HEADER_BYTES:
                raise _UnfinishedError
            mapped = mmap.mmap(file, 0, access=mmap.ACCESS_READ)
            magic, version = HEADER.unpack_from(mapped, 0)[:2]
            if magic == bytes(len(MAGIC)):
                raise _UnfinishedError
            if (magic, version) != (MAGIC, VERSION):
                msg = f"{FOLDER / self._name} is not a segment of the sink `shm`, version {VERSION}"
                raise SourceError(msg)
        except BaseException:
            os.close(file)
            raise
        return file, mapped


class _UnfinishedError(Exception):
    """Raised if the writer has not written the header yet."""
