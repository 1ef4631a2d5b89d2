"""Convert ticks and events to ROS 2 messages for recordings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from orilla.devices.errors import ConfigError
from orilla.runtime.frame import Boxed, Event, Frame, Ranked, Tick, answers_of, wall_ns
from orilla.runtime.sinks.ros_types import (
    CLASSIFICATION,
    COMPRESSED_IMAGE,
    DETECTIONS,
    STRING,
    RosTypes,
    ros_token,
)

DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"

OK, WARN, ERROR = 0, 1, 2
"""Levels of a diagnostic status."""

BAD_EVENTS = ("lost", "truncated")
"""Kinds of events with the level `ERROR`. All other kinds except `back` have the level `WARN`."""


class Encoded(NamedTuple):
    """A message in CDR."""

    topic: str
    """Name of the topic, which begins with `/`."""
    kind: str
    """Type of the message, such as `std_msgs/msg/String`."""
    at_ns: int
    """Capture time in nanoseconds since 1970."""
    data: bytes


class RosMessages:
    """Converts ticks and events into messages.

    Args:
        topic: First part of the names of all topics except `/diagnostics`.
        frame_id: Name of the camera's coordinate frame. If empty, the name of the source is used.
        quality: JPEG quality of images, 1–100. If None, no images are recorded.
    """

    def __init__(self, topic: str, frame_id: str, quality: int | None) -> None:
        self._topic, self._frame_id, self._quality = topic, frame_id, quality
        self._types = RosTypes(DETECTIONS, CLASSIFICATION, STRING, COMPRESSED_IMAGE, DIAGNOSTICS)

    def definition(self, kind: str) -> str:
        """Return the definition of a message and of all message types that it contains, in the format of ROS 2."""
        return self._types.definition(kind)

    def of_tick(self, tick: Tick) -> Iterator[Encoded]:
        """Yield the answers of detectors and classifiers, the whole JSON document, and the image if `quality` is set.

        Raises:
            ConfigError: Images are requested, but the frame is not an image.
        """
        at_ns, place, document = wall_ns(tick.captured_ns), self._place(tick.source), tick.to_dict()
        header = self._header(at_ns, tick.source)
        for model, answer in answers_of(tick.result):
            own = "/".join([place, ros_token(model)] if model else [place])
            if isinstance(answer, Boxed):
                message = self._types.detections(header, answer.boxes)
                yield self._encoded(f"{own}/detections", DETECTIONS, at_ns, message)
            if isinstance(answer, Ranked):
                message = self._types.classification(header, answer.top_k(len(answer.labels)))
                yield self._encoded(f"{own}/classification", CLASSIFICATION, at_ns, message)
        yield self._encoded(f"{place}/json", STRING, at_ns, self._types.text(document))
        if self._quality is not None:
            if not isinstance(tick.frame, Frame):
                msg = "the source has no images: omit frames"
                raise ConfigError(msg)
            image = self._types.compressed(header, tick.frame.image, self._quality)
            yield self._encoded(f"{place}/image/compressed", COMPRESSED_IMAGE, at_ns, image)

    def diagnostics(self, tick: Tick, *, dropping: bool) -> Encoded:
        """Return a diagnostic message with the state of the loop. Its level is `WARN` if `dropping` is True."""
        values = {"age_ms": f"{tick.age_ms:.3f}", "index": str(tick.index), "dropped": str(tick.dropped)}
        values |= {f"{name}_ms": f"{value:.3f}" for name, value in tick.stages_ms.items()}
        values |= {f"dropped_{reason}": str(count) for reason, count in tick.drops.items()}
        level, text = (WARN, "frames are dropped") if dropping else (OK, "running")
        return self._status(wall_ns(tick.captured_ns), tick.source, level, text, values)

    def of_event(self, event: Event) -> Iterator[Encoded]:
        """Yield the event as a JSON document and as a diagnostic status."""
        at_ns = wall_ns(event.at_ns)
        yield self._encoded(f"{self._place(event.source)}/events", STRING, at_ns, self._types.event(event))
        level = ERROR if event.kind in BAD_EVENTS else OK if event.kind == "back" else WARN
        yield self._status(at_ns, event.source, level, event.detail, {"kind": event.kind})

    def _place(self, source: str | None) -> str:
        return self._topic if source is None else f"{self._topic}/{ros_token(source)}"

    def _encoded(self, topic: str, kind: str, at_ns: int, message: object) -> Encoded:
        return Encoded(topic, kind, at_ns, self._types.encode(message, kind))

    def _header(self, at_ns: int, source: str | None) -> Any:
        return self._types.header(at_ns, self._frame_id or source or "camera")

    def _status(self, at_ns: int, source: str | None, level: int, text: str, values: Mapping[str, str]) -> Encoded:
        new = self._types.new
        pairs = [new("diagnostic_msgs/msg/KeyValue", key=key, value=value) for key, value in values.items()]
        name = "orilla" if source is None else f"orilla: {source}"
        state = {"level": level, "name": name, "message": text, "hardware_id": source or "", "values": pairs}
        status = new("diagnostic_msgs/msg/DiagnosticStatus", **state)
        message = new(DIAGNOSTICS, header=self._header(at_ns, source), status=[status])
        return self._encoded("/diagnostics", DIAGNOSTICS, at_ns, message)
