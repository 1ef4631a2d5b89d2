"""Check from time to time, next to a running loop, whether a variant still agrees with a more exact one.

The check runs in a separate thread. It takes a frame only while the loop has idle time, and uses at most `MAX_SHARE` of
one core. The loop never waits for it.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.loop.stages import StageTimer
from orilla.runtime.preprocessing.input_kind import ModelInput, RawInput
from orilla.runtime.preprocessing.tensor_spec import Outputs

WINDOW = 100
"""Number of checks over which the agreement is averaged."""

MIN_CHECKS = 20
"""Minimum number of checks before a drift is reported."""

MAX_DROP = 0.05
"""Drop of the agreement, compared with the agreement at export, below which a drift is reported by default."""

RISE = 0.01
"""The end of a drift is reported when the agreement is this much above the limit."""

MAX_SHARE = 0.05
"""Largest share of one core that the checks use."""

MAX_LOAD = 0.9
"""A frame of a live source is not checked if inference was busy for more than this share of the time."""

JOIN_TIMEOUT_S = 5.0
"""Number of seconds to wait for the end of the current check when the loop ends."""

QUALITY = 95
"""JPEG quality of stored frames."""

STORED = re.compile(r"(\d\.\d{4})-\d+-\d+\.jpg")
"""Pattern of the names of stored frames, which begin with the agreement."""


@dataclass(frozen=True, slots=True)
class Shadow:
    """Settings of a shadow check.

    Raises:
        ConfigError: A number is out of range.
    """

    variant: str | None = None
    """Name of the variant with which the answers are compared. If None, it is the bundle's float32 variant."""
    every: int = 30
    """If this number is N, every N-th frame is checked, provided that the loop has idle time."""
    min_agreement: float | None = None
    """Mean agreement of the last `WINDOW` checks below which a drift is reported, 0–1. If None, it is the agreement of
    the variant at export minus `MAX_DROP`."""
    keep: str | Path | None = None
    """Folder in which the frames with the lowest agreement are stored, for the next calibration. If None, no frame is
    stored."""
    keep_count: int = 100
    """Maximum number of stored frames."""

    def __post_init__(self) -> None:
        for name in ("every", "keep_count"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
                msg = f"{name}={value}: must be a whole number from 1 to 1000000"
                raise ConfigError(msg)
        if self.min_agreement is not None and not 0 <= self.min_agreement <= 1:
            msg = f"min_agreement={self.min_agreement}: must be a number from 0 to 1"
            raise ConfigError(msg)


class Reference(NamedTuple):
    """The loaded variant with which answers are compared."""

    agreement: Callable[[ModelInput, Outputs], float]
    """Function that runs the variant on a network's input, and returns the share of equal decisions, 0–1."""
    close: Callable[[], None]
    """Function that releases the variant."""


class _Job(NamedTuple):
    """A frame to check."""

    prepared: ModelInput
    outputs: Outputs
    raw: RawInput


class ShadowCheck:
    """Compares the outputs for some frames of one loop with those of a reference.

    Args:
        settings: Settings of the check.
        expected: Agreement with the original model at export, 0–1.
        opener: Function that loads the reference. The thread of the check calls it.
        live: True if the source is live. A recorded source waits for the loop, so the load of the loop does not matter.
        clock: Monotonic clock in nanoseconds.

    Raises:
        OutputError: The folder for stored frames cannot be created.
    """

    def __init__(
        self,
        settings: Shadow,
        expected: float,
        opener: Callable[[], Reference],
        *,
        live: bool,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._every, self._opener, self._live, self._clock = settings.every, opener, live, clock
        self._limit = max(0.0, expected - MAX_DROP) if settings.min_agreement is None else settings.min_agreement
        self._store = None if settings.keep is None else WorstFrames(Path(settings.keep), settings.keep_count)
        self._jobs: queue.Queue[_Job | None] = queue.Queue(1)
        self._lock = threading.Lock()
        self._count, self._busy_ms, self._since_ns, self._next_ns = 0, 0.0, clock(), 0
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._drifts = self._ended = False
        self.agreement: float | None = None
        """Mean agreement of the last `WINDOW` checks. None before the first check."""
        self.on_drift: Callable[[str], None] = _ignore
        """Function that receives one line of text when a drift begins or ends, and when the check fails."""
        self._thread = threading.Thread(target=self._run, name="orilla-shadow", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, prepared: ModelInput, outputs: Outputs, raw: RawInput, timer: StageTimer) -> None:
        """Check an answered frame if its turn has come and the loop has idle time. This method never waits.

        Args:
            prepared: The network's input.
            outputs: Outputs of the network. They are not changed.
            raw: The frame.
            timer: Timer with the times of the frame. Its `agreement` is set.
        """
        timer.agreement = self.agreement
        with self._lock:
            self._count += 1
            self._busy_ms += timer.stages_ms.get("infer", 0.0) + timer.stages_ms.get("decode", 0.0)
            if self._count < self._every:
                return
            now_ns = self._clock()
            load = 1e6 * self._busy_ms / max(1, now_ns - self._since_ns)
            self._count, self._busy_ms, self._since_ns = 0, 0.0, now_ns
            if self._ended or now_ns < self._next_ns or (self._live and load > MAX_LOAD):
                return
        with suppress(queue.Full):
            self._jobs.put_nowait(_Job(prepared, outputs, raw))

    def close(self) -> None:
        """End the thread after the current check, and release the reference."""
        self._ended = True
        with suppress(queue.Empty):
            self._jobs.get_nowait()
        with suppress(queue.Full):
            self._jobs.put_nowait(None)
        if self._thread.ident is not None:
            self._thread.join(JOIN_TIMEOUT_S)

    def _run(self) -> None:
        try:
            reference = self._opener()
            try:
                while (job := self._jobs.get()) is not None:
                    self._check(reference, job)
                    del job  # Release the buffers now, not only at the next check.
            finally:
                reference.close()
        except Exception as error:  # noqa: BLE001 - the loop goes on without the check
            self._ended = True
            self.on_drift(f"the shadow check has ended: {' '.join(str(error).split())}")

    def _check(self, reference: Reference, job: _Job) -> None:
        began_ns = self._clock()
        agreement = reference.agreement(job.prepared, job.outputs)
        self._recent.append(agreement)
        self.agreement = float(np.mean(self._recent))
        self._report()
        if self._store is not None and isinstance(job.raw, np.ndarray):
            try:
                self._store.offer(job.raw, agreement)
            except OSError as error:
                self._store = None
                self.on_drift(f"the shadow check stores no more frames: {error.strerror or error}")
        ended_ns = self._clock()
        self._next_ns = ended_ns + int((ended_ns - began_ns) * (1 / MAX_SHARE - 1))

    def _report(self) -> None:
        """Report the beginning or the end of a drift."""
        assert self.agreement is not None
        if len(self._recent) < MIN_CHECKS:
            return
        if not self._drifts and self.agreement < self._limit:
            self._drifts = True
            self.on_drift(
                f"the answers drift: their agreement with the reference is {self.agreement:.3f} in the last "
                f"{len(self._recent)} checks, and the limit is {self._limit:.3f}"
            )
        elif self._drifts and self.agreement >= min(1.0, self._limit + RISE):
            self._drifts = False
            self.on_drift(f"the answers no longer drift: their agreement with the reference is {self.agreement:.3f}")


class WorstFrames:
    """A folder with the frames that have the lowest agreement, as JPEG files.

    Frames that earlier loops stored also count.

    Args:
        folder: The folder. It is created if it does not exist.
        count: Maximum number of files.

    Raises:
        OutputError: The folder cannot be created.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._folder, self._count, self._written = folder, count, 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            names = [path.name for path in folder.iterdir() if STORED.fullmatch(path.name)]
        except OSError as error:
            msg = f"cannot write to the folder {folder}: {error.strerror or error}"
            raise OutputError(msg) from error
        self._names = sorted(names)
        """Names of the files, starting with the lowest agreement."""

    def offer(self, image: NDArray[Any], agreement: float) -> None:
        """Store a frame, `[H,W,3]` uint8 BGR, if its agreement is lower than that of a stored frame.

        Frames with an agreement of 1 are not stored.

        Raises:
            OSError: The file cannot be written.
        """
        is_full = len(self._names) >= self._count
        text = f"{agreement:.4f}"
        if agreement >= 1 or (is_full and text >= self._names[-1][: len(text)]):
            return
        name = f"{text}-{time.time_ns() // 1_000_000}-{self._written}.jpg"
        self._written += 1
        data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        temporary = self._folder / f".{name}"
        try:
            temporary.write_bytes(data.tobytes())
            temporary.replace(self._folder / name)
        finally:
            temporary.unlink(missing_ok=True)
        self._names = sorted([*self._names, name])
        while len(self._names) > self._count:
            (self._folder / self._names.pop()).unlink(missing_ok=True)


def _ignore(detail: str) -> None:
    del detail
