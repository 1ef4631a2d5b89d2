"""ROS 2 messages with the content of ticks and events. `rosbags` encodes them as CDR, so ROS need not be installed.

`vision_msgs` has the form of its version 4, which ROS 2 uses since Humble.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import cv2
import msgspec
import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from orilla.devices.errors import ConfigError
from orilla.runtime.frame import Event, Frame, Tick, wall_ns
from orilla.runtime.sinks.answers import Document, answers

VISION_MESSAGES = {
    "ObjectHypothesis": "string class_id\nfloat64 score\n",
    "ObjectHypothesisWithPose": ("vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n"),
    "Point2D": "float64 x\nfloat64 y\n",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta\n",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y\n",
    "Detection2D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox2D bbox\nstring id\n"
    ),
    "Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections\n",
    "Classification": "std_msgs/Header header\nvision_msgs/ObjectHypothesis[] results\n",
}
"""Definitions of `vision_msgs` 4, <https://docs.ros.org/en/jazzy/p/vision_msgs>."""

DETECTIONS, CLASSIFICATION = "vision_msgs/msg/Detection2DArray", "vision_msgs/msg/Classification"
STRING, IMAGE = "std_msgs/msg/String", "sensor_msgs/msg/CompressedImage"
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"

OK, WARN, ERROR = 0, 1, 2
"""Levels of a diagnostic status."""

BAD_EVENTS = ("lost", "truncated")
"""Kinds of events with the level `ERROR`. Others except `back` have the level `WARN`."""


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
        frame_id: Name of the camera's coordinate frame. If it is empty, the name of the source.
        quality: JPEG quality of images, 1–100. None for no images.
    """

    def __init__(self, topic: str, frame_id: str, quality: int | None) -> None:
        self._topic, self._frame_id, self._quality = topic, frame_id, quality
        self._encoder = msgspec.json.Encoder()
        self._store = get_typestore(Stores.ROS2_HUMBLE)
        for name, text in VISION_MESSAGES.items():
            self._store.register(get_types_from_msg(text, f"vision_msgs/msg/{name}"))
        self._types = self._store.types
        for kind in (DETECTIONS, CLASSIFICATION, STRING, IMAGE, DIAGNOSTICS):
            self._store.get_msgdef(kind)  # prepares the conversion, so that the first tick is not late

    def definition(self, kind: str) -> str:
        """Return the definition of a message with those of all its parts, in the form of ROS 2."""
        return str(self._store.generate_msgdef(kind, ros_version=2)[0])

    def of_tick(self, tick: Tick) -> Iterator[Encoded]:
        """Yield the answers of detectors and classifiers, the whole JSON document, and the image if it is wanted.

        Raises:
            ConfigError: Images are wanted, but the frame is not an image.
        """
        at_ns, place, document = wall_ns(tick.captured_ns), self._place(tick.source), tick.to_dict()
        header = self._header(at_ns, tick.source)
        result = document["result"]
        assert isinstance(result, dict)
        for answer in answers(result):
            own = "/".join([place, _name(answer.model)] if answer.model else [place])
            task = answer.document["task"]
            if task == "detect":
                yield self._encoded(f"{own}/detections", DETECTIONS, at_ns, self._detections(header, answer.document))
            elif task in ("classify", "text"):
                message = self._classification(header, answer.document)
                yield self._encoded(f"{own}/classification", CLASSIFICATION, at_ns, message)
        yield self._text(f"{place}/json", at_ns, document)
        if self._quality is not None:
            yield self._encoded(f"{place}/image/compressed", IMAGE, at_ns, self._image(header, tick, self._quality))

    def diagnostics(self, tick: Tick, *, dropping: bool) -> Encoded:
        """Return the state of the loop. The level is `WARN` if frames were dropped since the last one."""
        values = {"age_ms": f"{tick.age_ms:.3f}", "index": str(tick.index), "dropped": str(tick.dropped)}
        values |= {f"{name}_ms": f"{value:.3f}" for name, value in tick.stages_ms.items()}
        values |= {f"dropped_{reason}": str(count) for reason, count in tick.drops.items()}
        level, text = (WARN, "frames are dropped") if dropping else (OK, "running")
        return self._status(wall_ns(tick.captured_ns), tick.source, level, text, values)

    def of_event(self, event: Event) -> Iterator[Encoded]:
        """Yield the event as a JSON document and as a diagnostic status."""
        at_ns = wall_ns(event.at_ns)
        fields = {key: value for key, value in msgspec.structs.asdict(event).items() if value is not None}
        yield self._text(f"{self._place(event.source)}/events", at_ns, fields)
        level = ERROR if event.kind in BAD_EVENTS else OK if event.kind == "back" else WARN
        yield self._status(at_ns, event.source, level, event.detail, {"kind": event.kind})

    def _place(self, source: str | None) -> str:
        return self._topic if source is None else f"{self._topic}/{_name(source)}"

    def _encoded(self, topic: str, kind: str, at_ns: int, message: object) -> Encoded:
        return Encoded(topic, kind, at_ns, bytes(self._store.serialize_cdr(message, kind)))

    def _text(self, topic: str, at_ns: int, document: Mapping[str, object]) -> Encoded:
        text = self._encoder.encode(document).decode()
        return self._encoded(topic, STRING, at_ns, self._types[STRING](data=text))

    def _header(self, at_ns: int, source: str | None) -> Any:
        stamp = self._types["builtin_interfaces/msg/Time"](sec=at_ns // 10**9, nanosec=at_ns % 10**9)
        return self._types["std_msgs/msg/Header"](stamp=stamp, frame_id=self._frame_id or source or "camera")

    def _detections(self, header: Any, answer: Document) -> Any:
        boxes = [self._detection(header, box) for box in answer["boxes"]]
        return self._types[DETECTIONS](header=header, detections=boxes)

    def _detection(self, header: Any, box: Document) -> Any:
        """Return one box. Its pose is unknown, so the covariance is zero, as `vision_msgs` does in this case."""
        types = self._types
        left, top, right, bottom = box["xyxy"]
        pose = types["geometry_msgs/msg/PoseWithCovariance"](
            pose=types["geometry_msgs/msg/Pose"](
                position=types["geometry_msgs/msg/Point"](x=0.0, y=0.0, z=0.0),
                orientation=types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
            ),
            covariance=np.zeros(36),
        )
        centre = types["vision_msgs/msg/Pose2D"](
            position=types["vision_msgs/msg/Point2D"](x=(left + right) / 2, y=(top + bottom) / 2), theta=0.0
        )
        hypothesis = types["vision_msgs/msg/ObjectHypothesis"](class_id=box["label"], score=box["score"])
        return types["vision_msgs/msg/Detection2D"](
            header=header,
            results=[types["vision_msgs/msg/ObjectHypothesisWithPose"](hypothesis=hypothesis, pose=pose)],
            bbox=types["vision_msgs/msg/BoundingBox2D"](center=centre, size_x=right - left, size_y=bottom - top),
            id=str(box.get("track", "")),
        )

    def _classification(self, header: Any, answer: Document) -> Any:
        hypothesis = self._types["vision_msgs/msg/ObjectHypothesis"]
        results = [hypothesis(class_id=one["label"], score=one["score"]) for one in answer["top_k"]]
        return self._types[CLASSIFICATION](header=header, results=results)

    def _image(self, header: Any, tick: Tick, quality: int) -> Any:
        if not isinstance(tick.frame, Frame):
            msg = "the source has no images: omit frames"
            raise ConfigError(msg)
        _, data = cv2.imencode(".jpg", tick.frame.image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return self._types[IMAGE](header=header, format="jpeg", data=data.reshape(-1))

    def _status(self, at_ns: int, source: str | None, level: int, text: str, values: Mapping[str, str]) -> Encoded:
        types = self._types
        pairs = [types["diagnostic_msgs/msg/KeyValue"](key=key, value=value) for key, value in values.items()]
        name = "orilla" if source is None else f"orilla: {source}"
        status = types["diagnostic_msgs/msg/DiagnosticStatus"](
            level=level, name=name, message=text, hardware_id=source or "", values=pairs
        )
        message = types[DIAGNOSTICS](header=self._header(at_ns, source), status=[status])
        return self._encoded("/diagnostics", DIAGNOSTICS, at_ns, message)


def _name(text: str) -> str:
    """Return a text as a part of a topic. ROS allows letters, digits and `_`, and no digit at the beginning."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text)
    return f"_{name}" if not name or name[0].isdigit() else name
