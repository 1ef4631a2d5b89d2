"""Convert the presentation times of a file's frames to times since the first frame."""

from __future__ import annotations

from fractions import Fraction

MAX_BACK_NS = 1_000_000_000
"""Largest decrease of the presentation time, in nanoseconds, that counts as jitter. A larger decrease means that the
file's clock has restarted."""

MAX_GAP_NS, MAX_STREAM_GAP_NS = 3600 * 10**9, 10 * 10**9
"""Longest time between two frames in nanoseconds. A longer gap means that the file's clock has restarted. The second
value applies to transport and program streams, whose clocks restart when recordings are joined. Source: FFmpeg's
`ffplay`."""

MIN_HOLE_NS, HOLE_PERIODS = 900_000_000, 5
"""A part of a playlist is missing if the time between two frames is at least this many nanoseconds and this many frame
periods."""

MIN_STEP_NS = 1000
"""Time in nanoseconds that is assumed between two frames if the file states the same time for both."""


class FrameTimes:
    """Computes the time from the first frame to each frame of a stream.

    The time follows the presentation times, so it is correct for variable frame rates. If the clock of the file
    restarts, the time continues one period after the previous frame. A frame without a presentation time is placed one
    period after the previous frame.

    Args:
        time_base: Unit of the presentation times in seconds.
        period_ns: Expected time from one frame to the next in nanoseconds.
        restarts: True if the container's clock may restart within a file.
        max_gap_ns: Longest time between two frames in nanoseconds. If None, it is `MAX_GAP_NS` or `MAX_STREAM_GAP_NS`.
    """

    def __init__(self, time_base: Fraction, period_ns: int, *, restarts: bool, max_gap_ns: int | None = None) -> None:
        self._numerator, self._denominator = time_base.numerator * 10**9, time_base.denominator
        self._period_ns = period_ns
        self._max_gap_ns = max_gap_ns or (MAX_STREAM_GAP_NS if restarts else MAX_GAP_NS)
        self._last_ns: int | None = None
        self._offset_ns: int | None = None

    def of(self, pts: int | None) -> int:
        """Return the time of the next frame in nanoseconds. Times increase from frame to frame, and begin with 0.

        Args:
            pts: Presentation time of the frame in units of the time base, or None if the file states none.
        """
        expected_ns = 0 if self._last_ns is None else self._last_ns + self._period_ns
        time_ns = expected_ns
        if pts is not None:
            presented_ns = pts * self._numerator // self._denominator
            if self._offset_ns is None:
                self._offset_ns = presented_ns - expected_ns
            time_ns = presented_ns - self._offset_ns
            if self._last_ns is not None and not -MAX_BACK_NS <= time_ns - self._last_ns <= self._max_gap_ns:
                self._offset_ns = presented_ns - expected_ns
                time_ns = expected_ns
        if self._last_ns is not None:
            time_ns = max(time_ns, self._last_ns + MIN_STEP_NS)
        self._last_ns = time_ns
        return time_ns


class Holes:
    """Finds the places at which parts of a playlist (HLS) are missing.

    FFmpeg skips a part that the server does not send, so the times of the frames jump.

    Args:
        name: Name of the playlist in messages.
        period_ns: Expected time from one frame to the next in nanoseconds. The time between the last two frames is used
            instead as soon as it is known, because the rate of a live playlist is only estimated.
    """

    def __init__(self, name: str, period_ns: float) -> None:
        self._name, self._period_ns = name, period_ns
        self._last_ns: float | None = None

    def before(self, time_ns: float) -> tuple[int, str]:
        """Return how many frames are probably missing before a frame, and a text about them.

        Args:
            time_ns: Presentation time of the frame in nanoseconds, relative to any origin.
        """
        last_ns, self._last_ns = self._last_ns, time_ns
        gap_ns = 0 if last_ns is None else time_ns - last_ns
        if gap_ns < max(MIN_HOLE_NS, HOLE_PERIODS * self._period_ns):
            self._period_ns = gap_ns if gap_ns > 0 else self._period_ns
            return 0, ""
        count = max(1, round(gap_ns / self._period_ns) - 1)
        frames = f"{count} frame{'s' * (count > 1)} of {self._name}"
        return count, f"about {frames} missing ({gap_ns / 1e9:.2f} s): the server did not send a part of the playlist"
