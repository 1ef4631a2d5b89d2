"""Convert ticks and events to MAVLink messages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pymavlink.dialects.v20 import common

from orilla.runtime.frame import Boxed, Event, Frame, Ranked, Tick, answers_of

NAME_BYTES, TEXT_BYTES = 10, 50
"""Maximum length in characters of a name in `NAMED_VALUE_FLOAT`, and of a text in `STATUSTEXT`."""

TEXT_NS = 1_000_000_000
"""Minimum time in nanoseconds between two texts about a label of the same model. A label may change with each frame,
which is too fast for telemetry."""

SEVERITIES = {"lost": common.MAV_SEVERITY_ERROR, "back": common.MAV_SEVERITY_INFO}
"""Severity of each kind of event. Events of other kinds are warnings."""


@dataclass(frozen=True, slots=True)
class FieldOfView:
    """The horizontal and vertical field of view of a camera, in radians."""

    horizontal: float
    vertical: float | None
    """If None, pixels are assumed to be square, so that the angle follows from the size of the image."""

    def focal_px(self, width: int, height: int) -> tuple[float, float]:
        """Return the focal lengths in pixels, for an image without distortion (pinhole camera)."""
        across = width / 2 / math.tan(self.horizontal / 2)
        return across, across if self.vertical is None else height / 2 / math.tan(self.vertical / 2)


class MavlinkMessages:
    """Converts ticks and events into messages.

    Args:
        fov: Field of view of the camera. If None, no `LANDING_TARGET` messages are sent.
        label: Class of the boxes that are sent as landing targets. If None, boxes of all classes are sent.
    """

    def __init__(self, fov: FieldOfView | None, label: str | None) -> None:
        self._fov, self._label = fov, label
        self._told: dict[str, tuple[str, int]] = {}
        """Last label that was sent and its capture time, for each source and model."""

    def of_tick(self, tick: Tick) -> Iterator[Any]:
        """Yield the messages of one tick. They contain the capture time since the computer was switched on."""
        values: dict[str, float] = {}
        for model, answer in answers_of(tick.result):
            place = ".".join(filter(None, (tick.source, model)))
            if isinstance(answer, Boxed):
                yield from self._target(tick, answer)
            if isinstance(answer, Ranked):
                yield from self._text(tick, place, answer.top)
            for measure in answer.measures():
                # Without a 0 for classes that the frame lacks, a receiver would keep showing their last count.
                if measure.quantity != "boxes":
                    values[".".join(filter(None, (place, measure.name or measure.quantity)))] = measure.number
        at_ms = tick.captured_ns // 1_000_000 % 2**32
        for name, value in zip(short_names(list(values)), values.values(), strict=True):
            yield common.MAVLink_named_value_float_message(at_ms, name, value)

    def of_event(self, event: Event) -> Any:
        """Return the event as a status text."""
        return _status(SEVERITIES.get(event.kind, common.MAV_SEVERITY_WARNING), event.detail)

    def _target(self, tick: Tick, answer: Boxed) -> Iterator[Any]:
        """Yield the box with the highest score as a target, with angles from the image centre (x right, y down)."""
        boxes = [box for box in answer.boxes if self._label in (None, box.label)]
        if self._fov is None or not boxes or not isinstance(tick.frame, Frame):
            return
        height, width = tick.frame.image.shape[:2]
        focal_x, focal_y = self._fov.focal_px(width, height)
        left, top, right, bottom = boxes[0].xyxy
        yield common.MAVLink_landing_target_message(
            time_usec=tick.captured_ns // 1000,
            target_num=(boxes[0].track or 0) % 256,
            frame=common.MAV_FRAME_BODY_FRD,
            angle_x=math.atan(((left + right) / 2 - width / 2) / focal_x),
            angle_y=math.atan(((top + bottom) / 2 - height / 2) / focal_y),
            distance=0.0,  # unknown
            size_x=math.atan((right - width / 2) / focal_x) - math.atan((left - width / 2) / focal_x),
            size_y=math.atan((bottom - height / 2) / focal_y) - math.atan((top - height / 2) / focal_y),
            type=common.LANDING_TARGET_TYPE_VISION_OTHER,
            position_valid=0,
        )

    def _text(self, tick: Tick, place: str, top: Any) -> Iterator[Any]:
        """Yield the label of a classifier if it has changed."""
        label, at_ns = self._told.get(place, (None, 0))
        if top.label != label and (label is None or tick.captured_ns - at_ns >= TEXT_NS):
            self._told[place] = (top.label, tick.captured_ns)
            name = f"{place}: " if place else ""
            yield _status(common.MAV_SEVERITY_INFO, f"{name}{top.label} {100 * top.score:.0f} %")


def short_names(names: list[str]) -> list[bytes]:
    """Shorten each name to at most `NAME_BYTES` characters. A number at the end keeps equal names apart."""
    found: list[bytes] = []
    for name in names:
        short = plain = name.encode("ascii", "replace")
        number = 1
        while short[:NAME_BYTES] in found:
            number += 1
            end = b"~%d" % number
            short = plain[: NAME_BYTES - len(end)] + end
        found.append(short[:NAME_BYTES])
    return found


def _status(severity: int, text: str) -> Any:
    return common.MAVLink_statustext_message(severity, text.encode("ascii", "replace")[:TEXT_BYTES])
