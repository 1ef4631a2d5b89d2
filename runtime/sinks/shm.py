"""Sink that writes ticks into a ring buffer in POSIX shared memory, for other processes on the same machine."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import re
import time
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.frame import Frame, Tick, wall_ns
from orilla.runtime.sinks.shm_layout import (
    CLOSED,
    FOLDER,
    HEADER,
    HEADER_BYTES,
    MAGIC,
    OPEN,
    REPLACED,
    SLOT,
    SLOT_BYTES,
    STATE_AT,
    VERSION,
    WRITTEN_AT,
    Header,
)
from orilla.runtime.sinks.sink import Setup, Sink

NEEDS_TARGET = True

Image = NDArray[np.uint8]
"""Image `[H,W,3]` uint8 BGR."""

NAME = re.compile(r"/?[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")

FEWEST_SLOTS, MOST_SLOTS = 2, 1000
"""Allowed range of the number of slots. With a single slot, the readers and the writer would always access the same
slot."""

MIN_JSON = 16 * 1024
"""Minimum number of spare bytes in a slot, because later JSON documents may be longer."""

PAGE = mmap.PAGESIZE

CLAIM_S, CLAIM_WAIT_S = 0.3, 0.01
"""Number of seconds for which locking is retried, and the time between two attempts. A reader holds the lock briefly
while it checks whether the writer is running."""

MODES = {"user": 0o600, "group": 0o640, "all": 0o644}


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the sink."""

    slots: int = 4
    """Number of ticks in the ring."""
    frames: bool = False
    """True to also write the image of each frame."""
    access: Literal["user", "group", "all"] = "user"
    """Processes that may read the segment: processes of the same user, of the same group, or all."""

    def __post_init__(self) -> None:
        if not FEWEST_SLOTS <= self.slots <= MOST_SLOTS:
            msg = f"slots={self.slots}: expected a number from {FEWEST_SLOTS} to {MOST_SLOTS}"
            raise ValueError(msg)


class Shm(Sink):
    """Writes each tick into the next slot of the ring buffer, and never waits for a reader.

    The first tick determines the size of the slots. If a later tick needs more space, a larger segment with the same
    name replaces the old one, and readers attach again.
    """

    def __init__(self, name: str, options: Options, setup: Setup) -> None:
        self._name, self._options, self._setup = name, options, setup
        self._encoder = msgspec.json.Encoder()
        self._written = _remove_stale(FOLDER / name, setup)
        self._memory: _Memory | None = _Memory(name, options, 0, self._written)

    def write(self, tick: Tick) -> bool:
        """Write one tick.

        Raises:
            OutputError: There is not enough memory.
            ConfigError: Images are requested, but the frame is not an image.
        """
        document = self._encoder.encode(tick.to_dict())
        image = self._image(tick)
        image_at = SLOT_BYTES + _padded(len(document), 64)
        needed = image_at + (0 if image is None else image.nbytes)
        assert self._memory is not None
        if needed > self._memory.slot_size:
            self._grow(len(document), needed)
        height, width = (0, 0) if image is None else image.shape[:2]
        times = (tick.captured_ns, wall_ns(tick.captured_ns))
        self._written += 1
        self._memory.put(self._written, (*times, len(document), image_at, height, width), document, image)
        return True

    def close(self) -> None:
        """Remove the segment. Attached readers can still read the last ticks, and see that the loop has ended."""
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.end(CLOSED)

    def _image(self, tick: Tick) -> Image | None:
        if not self._options.frames:
            return None
        if not isinstance(tick.frame, Frame):
            msg = "sink `shm`: the source has no images: omit frames"
            raise ConfigError(msg)
        return tick.frame.image

    def _grow(self, json_bytes: int, needed: int) -> None:
        """Replace the segment with one whose slots have space for a tick of `needed` bytes and for longer documents."""
        old, self._memory = self._memory, None
        assert old is not None
        old.end(REPLACED)
        slot_size = _padded(needed + max(json_bytes, MIN_JSON), PAGE)
        self._memory = _Memory(self._name, self._options, slot_size, self._written)
        if old.slot_size:
            self._setup.report(
                f"a tick needs {needed} bytes, so the segment {self._name} was replaced by a larger one of "
                f"{self._options.slots} × {slot_size} bytes; readers must attach again"
            )


class _Memory:
    """One shared-memory segment.

    It is locked while it is open. A segment without a lock was left behind by a killed process.
    """

    def __init__(self, name: str, options: Options, slot_size: int, written: int) -> None:
        self._path, self._slots, self.slot_size = FOLDER / name, options.slots, slot_size
        size = HEADER_BYTES + self._slots * slot_size
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _output_error(name, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Reserve the memory now. If memory ran out during a write, the process would be killed.
            os.posix_fallocate(self._file, 0, size)
            os.fchmod(self._file, MODES[options.access])
            self._map = mmap.mmap(self._file, size)
        except OSError as error:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            raise _output_error(name, error, size) from error
        HEADER.pack_into(self._map, 0, b"", VERSION, self._slots, slot_size, written, OPEN, os.getpid())
        self._map[: len(MAGIC)] = MAGIC

    def put(self, number: int, fields: tuple[int, ...], document: bytes, image: Image | None) -> None:
        """Write tick `number`, counted from 1, into its slot.

        Readers rely on the order of the writes. A processor does not change this order, because the interpreter
        executes more instructions between two writes than a processor can reorder.

        Args:
            number: The number of the tick.
            fields: Fields of the slot's header after `begin` and `end`.
            document: JSON document.
            image: Image `[H,W,3]` uint8 BGR, or None.
        """
        at = HEADER_BYTES + (number - 1) % self._slots * self.slot_size
        before = SLOT.unpack_from(self._map, at)
        self._set(at, number)
        SLOT.pack_into(self._map, at, number, before[1], *fields)
        self._map[at + SLOT_BYTES : at + SLOT_BYTES + len(document)] = document
        if image is not None:
            np.copyto(np.ndarray(image.shape, np.uint8, self._map, at + fields[3]), image)
        self._set(at + 8, number)
        self._set(WRITTEN_AT, number)

    def end(self, state: int) -> None:
        """Tell the readers that no tick follows, and remove the name."""
        self._map[STATE_AT] = state
        self._path.unlink(missing_ok=True)
        self._map.close()
        os.close(self._file)

    def _set(self, at: int, number: int) -> None:
        """Write an 8-byte number in a single memory access."""
        with memoryview(self._map) as view, view.cast("Q") as numbers:
            numbers[at // 8] = number


def _remove_stale(path: Path, setup: Setup) -> int:
    """Remove a segment that a killed process left behind, and tell its readers to attach again.

    Return its number of written ticks, so that the count continues for these readers. Return 0 if there is no segment.

    Raises:
        OutputError: A running program is writing the segment, or the file does not belong to this sink.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise _output_error(path.name, error) from error
    try:
        start = os.pread(file, HEADER.size, 0)
        if not start.startswith(MAGIC):
            msg = f"{path} is not a segment of the sink `shm`: choose another name, or remove the file"
            raise OutputError(msg)
        _lock(file, path.name)
        os.pwrite(file, bytes([REPLACED]), STATE_AT)
        path.unlink(missing_ok=True)
        left = Header._make(HEADER.unpack(start))
        setup.report(f"removed the segment {path.name}, which process {left.pid} left when it was killed")
        return left.written
    finally:
        os.close(file)


def _lock(file: int, name: str) -> None:
    deadline = time.monotonic() + CLAIM_S
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                msg = f"another program writes the segment {name}: choose another name"
                raise OutputError(msg) from error
            time.sleep(CLAIM_WAIT_S)


def _output_error(name: str, error: OSError, size: int = 0) -> OutputError:
    if error.errno == errno.EEXIST:
        return OutputError(f"another program writes the segment {name}: choose another name")
    if error.errno == errno.ENOSPC:
        return OutputError(f"no room for {size} bytes in {FOLDER}: use fewer slots, or omit frames")
    return OutputError(f"cannot create the segment {name} in {FOLDER}: {error.strerror or error}")


def _padded(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def open_sink(target: str, options: Options, setup: Setup) -> Shm:
    """Create the shared-memory segment named by `target`."""
    if not NAME.fullmatch(target):
        msg = f"sink `shm:{target}`: a name consists of letters, digits, `_`, `-` and `.`, as in shm:rover"
        raise ConfigError(msg)
    return Shm(target.removeprefix("/"), options, setup)
