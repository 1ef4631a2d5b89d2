"""Convert the presentation times of a stream to the monotonic clock, as long as both run at the same speed."""

from __future__ import annotations

import math
from collections import deque

PART_NS = 1_000_000_000
"""Minimum length in nanoseconds of a part. The arrivals are divided into parts, and for each part the smallest delay
between presentation and arrival is stored."""

PARTS = 5
"""Number of consecutive parts whose smallest delays must agree before presentation times are used."""

TOLERANCE, TRUSTING = 0.02, 0.01
"""Maximum change of the smallest delay over `PARTS` parts, as a share of their length. `TOLERANCE` applies while
presentation times are used: a stream whose times run more than 2 % faster or slower than the clock exceeds it.
`TRUSTING` applies before they are used. It is smaller, so that a stream near the limit does not switch back and
forth."""

MAX_SPAN_NS = PARTS * PART_NS
"""Length in nanoseconds up to which the allowed change grows with the length of the parts. The parts of a stream with
few frames may be longer."""

MAX_LATE_NS = 1_000_000_000
"""Maximum plausible difference in nanoseconds between the delay of a frame and the reference. If it is larger, the
stream was paused or its times jumped."""

REPORT_NS = 7_000_000_000
"""Time in nanoseconds for which presentation times must disagree with the clock before this is reported. It is longer
than the time needed to recognise that they agree."""

WAITED_NS = 1_000_000
"""If the reader waited less than this time in nanoseconds for a frame, the frame had arrived earlier, at an unknown
time."""

MAX_STAMP_AGE_NS = 5_000_000_000
"""Maximum plausible age of a driver's time stamp in nanoseconds. An older time stamp must come from another clock."""


class PresentationClock:
    """Converts presentation times to the monotonic clock, or returns the times of arrival if the two disagree.

    A frame that waits in a network or a decoder arrives late, never early. The smallest difference between arrival and
    presentation time is therefore the best estimate of the offset between the clocks. The estimate still contains the
    smallest delay itself.

    Some streams have no clock. FFmpeg numbers the frames of a stream without times at 25 per second, and some cameras
    number frames at their nominal rate although they deliver fewer in the dark. The smallest delay of such a stream
    grows or shrinks steadily. The times are used only while the smallest delays of the last parts are equal within
    `TOLERANCE`. The reference is the smallest delay of the current and the previous part, so it follows a clock that
    drifts: if the times run slower by the tolerance, a frame appears at most 40 ms older than it is.
    """

    def __init__(self) -> None:
        self._presented_ms: float | None = None
        self._parts: deque[tuple[int, float]] = deque(maxlen=PARTS)
        """Arrival and delay of the frame with the smallest delay in each complete part, in nanoseconds."""
        self._began_ns = 0
        self._smallest: tuple[int, float] | None = None
        """Arrival and delay of the frame with the smallest delay in the current part."""
        self._agrees = self._reported = False
        self._doubted: tuple[int, float] | None = None
        """Arrival and presentation time of the first frame of the current period of disagreement, in nanoseconds."""
        self._latest_ns = 0
        self._behind_ns: int | None = None
        """Arrival time, in nanoseconds, of the first frame since the reader last had to wait. -1 after the backlog was
        reported."""
        self._notice: str | None = None

    def captured_ns(self, presented_ms: float | None, arrived_ns: int, waited_ns: int = WAITED_NS) -> int:
        """Return the capture time of a frame. It is never in the future, and never before that of the previous frame.

        If the reader is too slow, frames wait in the network. Their delays then do not show whether the stream's times
        are right.

        Args:
            presented_ms: Presentation time in milliseconds, relative to any origin. If None, the frame has no
                presentation time.
            arrived_ns: Time of arrival on the monotonic clock, in nanoseconds.
            waited_ns: Time that the reader waited for the frame, in nanoseconds.
        """
        stamp_ns = arrived_ns
        waited = waited_ns >= WAITED_NS
        self._note_backlog(arrived_ns, waited=waited)
        if presented_ms is not None and math.isfinite(presented_ms):
            delay_ns = arrived_ns - 1e6 * presented_ms
            if self._presented_ms is not None and presented_ms <= self._presented_ms:
                self._restart()
            self._presented_ms = presented_ms
            if waited:
                self._add(arrived_ns, delay_ns)
                self._agrees = self._agrees and delay_ns - self._reference_ns() <= MAX_LATE_NS
                self._judge(arrived_ns, presented_ms)
            elif self._smallest is not None and delay_ns < self._smallest[1]:
                self._smallest = arrived_ns, delay_ns  # The frame had arrived before `arrived_ns`.
            if self._agrees:
                stamp_ns = arrived_ns - max(0, round(delay_ns - self._reference_ns()))
        self._latest_ns = max(self._latest_ns, stamp_ns)
        return self._latest_ns

    def notice(self) -> str | None:
        """Return a notice that has not been returned yet, or None.

        A notice completes a sentence, such as `its frames arrive …`.
        """
        notice, self._notice = self._notice, None
        return notice

    def _note_backlog(self, arrived_ns: int, *, waited: bool) -> None:
        """Prepare a notice if the reader has not had to wait for a frame for `REPORT_NS`."""
        if self._behind_ns == -1:
            return
        if waited or self._behind_ns is None:
            self._behind_ns = None if waited else arrived_ns
        elif arrived_ns - self._behind_ns >= REPORT_NS:
            self._behind_ns = -1
            self._notice = "its frames arrive faster than they are read, so they queue, and may be older than stated"

    def _restart(self) -> None:
        self._parts.clear()
        self._smallest, self._agrees = None, False

    def _add(self, arrived_ns: int, delay_ns: float) -> None:
        if self._smallest is not None and arrived_ns - self._began_ns >= PART_NS:
            self._parts.append(self._smallest)
            self._smallest = None
            self._compare_parts()
        if self._smallest is None:
            self._began_ns, self._smallest = arrived_ns, (arrived_ns, delay_ns)
        elif delay_ns < self._smallest[1]:
            self._smallest = arrived_ns, delay_ns

    def _compare_parts(self) -> None:
        delays = [delay_ns for _, delay_ns in self._parts]
        span_ns = min(self._parts[-1][0] - self._parts[0][0], MAX_SPAN_NS)
        share = TOLERANCE if self._agrees else TRUSTING
        self._agrees = len(delays) == PARTS and max(delays) - min(delays) <= share * span_ns

    def _reference_ns(self) -> float:
        assert self._smallest is not None
        return min(self._smallest[1], self._parts[-1][1]) if self._parts else self._smallest[1]

    def _judge(self, arrived_ns: int, presented_ms: float) -> None:
        """Prepare a notice if the times have disagreed for `REPORT_NS`, or agree again after such a notice."""
        if self._agrees:
            self._doubted = None
            if self._reported:
                self._notice = "its presentation times agree with the clock again, and are used as time stamps"
            self._reported = False
        elif self._doubted is None:
            self._doubted = arrived_ns, 1e6 * presented_ms
        elif not self._reported and arrived_ns - self._doubted[0] >= REPORT_NS:
            self._reported = True
            rate = (1e6 * presented_ms - self._doubted[1]) / (arrived_ns - self._doubted[0])
            steady = 0 < rate < 100 and abs(rate - 1) > TRUSTING
            fault = f"run at {rate:.2f} times the speed of the clock" if steady else "jump or stand still"
            self._notice = f"its presentation times {fault}, so the time of arrival is used as the time stamp"


def plausible_ns(stamp_ns: int, now: int) -> int:
    """Return a driver's time stamp if it can be a time of the monotonic clock, else `now`. Both are in nanoseconds."""
    return stamp_ns if 0 <= now - stamp_ns < MAX_STAMP_AGE_NS else now
