"""The stage `track` of a loop, which adds the track IDs of objects to the answers of a detector."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from orilla.runtime.tasks.detect import Box, Detection, spec_of, with_score
from orilla.runtime.tasks.task import Answer, DecodeContext
from orilla.runtime.tracking.counting import MARGIN, Counting, LineCounting, Positions, ZoneCounting
from orilla.runtime.tracking.motion import Floats
from orilla.runtime.tracking.result import TrackedDetection
from orilla.runtime.tracking.track import Point, Track
from orilla.runtime.tracking.tracker import Tracked, Tracker

TRAIL_S = 1.0
"""Length of the trails in seconds."""
TRAIL_FRAMES = 64
"""Maximum number of points in a trail."""


class TrackStage:
    """Tracks the objects of one stream.

    Args:
        settings: Settings of the tracker.
        context: Properties of the detector.
    """

    def __init__(self, settings: Track, context: DecodeContext) -> None:
        self.context = with_score(context, settings.low_score)
        """Properties with which the outputs must be decoded. The score threshold is low, because boxes with low scores
        can continue a track."""
        self._settings, self._high = settings, spec_of(context).score_threshold
        self._tracker = Tracker(settings, self._high)
        self._class_numbers = {label: number for number, label in enumerate(context.labels)}
        self._counting: dict[str, Counting] = {name: LineCounting(line) for name, line in settings.lines.items()}
        self._counting |= {name: ZoneCounting(corners) for name, corners in settings.zones.items()}
        self._history: deque[tuple[int, dict[int, Point]]] = deque(maxlen=TRAIL_FRAMES)
        self._time_ns = 0

    def __call__(self, answer: Answer, time_ns: int | None) -> TrackedDetection:
        """Return the answer with the track IDs of the objects, without boxes that have a low score and no track.

        Args:
            answer: Answer of the detector, decoded with `context`.
            time_ns: Time of the frame in nanoseconds. If None, the time of the last frame plus one period of
                `Track.rate_hz` is used.
        """
        assert isinstance(answer, Detection), "only the answers of detectors can be tracked"
        self._time_ns = self._time_ns + round(1e9 / self._settings.rate_hz) if time_ns is None else time_ns
        tracked = self._track(answer)
        kept = [
            index
            for index, (box, number) in enumerate(zip(answer.boxes, tracked.numbers, strict=True))
            if number or box.score >= self._high
        ]
        tracked = Tracked(tracked.keys[kept], tracked.numbers[kept], tracked.boxes_xyxy[kept])
        boxes = tuple(
            replace(answer.boxes[index], track=number or None)
            for index, number in zip(kept, tracked.numbers.tolist(), strict=True)
        )
        seen = self._positions(boxes, tracked, answer.frame_hw)
        counts = {name: counting.observe(seen) for name, counting in self._counting.items()}
        for counting in self._counting.values():
            counting.forget(self._tracker.keys)
        history = self._longer_history(tracked, seen.points)
        return TrackedDetection(boxes, answer.frame_hw, counts, self._settings, history)

    def _track(self, answer: Detection) -> Tracked:
        height, width = answer.frame_hw
        boxes = np.array([box.xyxy for box in answer.boxes], np.float64).reshape(-1, 4) / (width, height, width, height)
        scores = np.array([box.score for box in answer.boxes], np.float64)
        classes = np.array([self._class_numbers[box.label] for box in answer.boxes], np.int64)
        return self._tracker.update(boxes, scores, classes, self._time_ns)

    def _positions(self, boxes: Sequence[Box], tracked: Tracked, frame_hw: tuple[int, int]) -> Positions:
        frame_wh = (frame_hw[1], frame_hw[0])
        return Positions(
            keys=tracked.keys.tolist(),
            confirmed=(tracked.numbers > 0).tolist(),
            labels=[box.label for box in boxes],
            points=self._counting_points(tracked.boxes_xyxy),
            margins=MARGIN * ((tracked.boxes_xyxy[:, 2:] - tracked.boxes_xyxy[:, :2]) * frame_wh).mean(axis=1),
            frame_wh=frame_wh,
        )

    def _counting_points(self, boxes_xyxy: Floats) -> Floats:
        """Return the counting point of each box, `[N,2]`."""
        middle = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
        if self._settings.count_at == "bottom":
            middle[:, 1] = boxes_xyxy[:, 3]
        return middle

    def _longer_history(self, tracked: Tracked, points: Floats) -> tuple[dict[int, Point], ...]:
        """Append the positions of this frame to the history. Return the history of the last second."""
        positions = {
            number: (x, y)
            for number, (x, y) in zip(tracked.numbers.tolist(), points.tolist(), strict=True)
            if number  # Track ID 0 means that the track is not confirmed.
        }
        self._history.append((self._time_ns, positions))
        while self._history[0][0] < self._time_ns - round(1e9 * TRAIL_S):
            self._history.popleft()
        return tuple(points for _, points in self._history)
