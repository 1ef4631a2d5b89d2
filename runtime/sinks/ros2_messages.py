"""ROS 2 messages: their types, their serialised form (CDR), and the messages that describe a tick."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from orilla.runtime.frame import Answers, Event, Frame, Result, Tick

DEFINITIONS = {
    "vision_msgs/msg/Point2D": "float64 x\nfloat64 y",
    "vision_msgs/msg/Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "vision_msgs/msg/BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score",
    "vision_msgs/msg/ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose"
    ),
    "vision_msgs/msg/Detection2D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox2D bbox\nstring id"
    ),
    "vision_msgs/msg/Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections",
    "vision_msgs/msg/Classification": "std_msgs/Header header\nvision_msgs/ObjectHypothesis[] results",
}
"""Fields of the types of `vision_msgs` 4, which ROS 2 Humble and later use. Rosbags contains the common types only."""

COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
IMAGE = "sensor_msgs/msg/Image"
DETECTIONS = "vision_msgs/msg/Detection2DArray"
CLASSIFICATION = "vision_msgs/msg/Classification"
NUMBER = "std_msgs/msg/Float64"
STRING = "std_msgs/msg/String"

JPEG_QUALITY = 85
"""Quality of compressed frames, 0–100."""

FOREGROUND = 255
"""Value of the pixels that belong to the class, in the mask of a segmentation with one class."""

Fields = Mapping[str, Any]


class Message(NamedTuple):
    """A message of one type, and where it is published."""

    topic: str
    """Part of the topic's name that follows the topic of the sink, such as `/image/compressed`. It may be empty."""
    type_name: str
    """Name of the type, such as `std_msgs/msg/String`."""
    fields: Fields


class _Labelled(Protocol):
    """The answer of a segmentation."""

    def mask(self) -> NDArray[np.bool_]:
        """Return the pixels of the class."""


class Types:
    """The types of messages, with their hashes and their serialised form."""

    def __init__(self) -> None:
        self._store = get_typestore(Stores.ROS2_JAZZY)
        for name, text in DEFINITIONS.items():
            self._store.register(get_types_from_msg(text, name))
        self._encoder = msgspec.json.Encoder()

    def hash_of(self, type_name: str) -> str:
        """Return the hash of a type, which begins with `RIHS01_`. ROS 2 uses it to detect other versions of a type."""
        return self._store.hash_rihs01(type_name)

    def serialize(self, message: Message) -> bytes:
        """Return a message in the format CDR, in the byte order of most machines (little-endian)."""
        made = self._new(message.type_name, message.fields)
        return bytes(self._store.serialize_cdr(made, message.type_name))

    def parse(self, data: bytes, type_name: str) -> Any:
        """Return the message that `serialize` converted into bytes."""
        return self._store.deserialize_cdr(data, type_name)

    def messages(self, tick: Tick, frame_id: str, *, frames: bool) -> Iterator[Message]:
        """Yield the messages that describe a tick.

        Args:
            tick: The tick.
            frame_id: Name of the camera's coordinate frame.
            frames: True to add the image with the result drawn on it.
        """
        header = self._header(tick.captured_ns, frame_id)
        for model, result in _answers(tick.result):
            prefix = f"/{token(model)}" if model else ""
            for message in self._answer(tick, result, header):
                yield message._replace(topic=prefix + message.topic)
        if frames and isinstance(tick.frame, Frame):
            done, data = cv2.imencode(".jpg", tick.draw(), (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
            assert done
            yield Message("/image/compressed", COMPRESSED_IMAGE, {"header": header, "format": "jpeg", "data": data})

    def event(self, event: Event) -> Message:
        """Return the message that describes an event."""
        document = {key: value for key, value in msgspec.structs.asdict(event).items() if value is not None}
        return Message("/event", STRING, {"data": self._json(document)})

    def _answer(self, tick: Tick, result: Any, header: Any) -> Iterator[Message]:
        document = result.to_dict()
        if document["task"] == "detect":
            boxes = [self._detection(box, header) for box in document["boxes"]]
            yield Message("", DETECTIONS, {"header": header, "detections": boxes})
        elif document["task"] in ("classify", "text"):
            scores = [self._hypothesis(one.label, one.score) for one in result.top_k(len(result.labels))]
            yield Message("", CLASSIFICATION, {"header": header, "results": scores})
        elif document["task"] == "segment":
            yield Message("", IMAGE, {"header": header, **_image_fields(result)})
        elif document["task"] == "regress":
            for name, value in result.items():
                yield Message(f"/{token(name)}", NUMBER, {"data": float(value)})
        else:
            yield Message("", STRING, {"data": self._json(tick.to_dict() | {"result": document})})
        if document.get("counts"):
            yield Message("/counts", STRING, {"data": self._json(document["counts"])})

    def _detection(self, box: Mapping[str, Any], header: Any) -> Any:
        left, top, right, bottom = box["xyxy"]
        position = self._new("vision_msgs/msg/Point2D", {"x": (left + right) / 2, "y": (top + bottom) / 2})
        center = self._new("vision_msgs/msg/Pose2D", {"position": position, "theta": 0.0})
        edges = {"center": center, "size_x": right - left, "size_y": bottom - top}
        hypothesis = {"hypothesis": self._hypothesis(box["label"], box["score"]), "pose": self._no_pose()}
        fields = {
            "header": header,
            "results": [self._new("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis)],
            "bbox": self._new("vision_msgs/msg/BoundingBox2D", edges),
            "id": str(box.get("track", "")),
        }
        return self._new("vision_msgs/msg/Detection2D", fields)

    def _hypothesis(self, label: str, score: float) -> Any:
        return self._new("vision_msgs/msg/ObjectHypothesis", {"class_id": label, "score": score})

    def _no_pose(self) -> Any:
        """Return a pose in space that says nothing, as in a new message of ROS."""
        pose = {
            "position": self._new("geometry_msgs/msg/Point", {"x": 0.0, "y": 0.0, "z": 0.0}),
            "orientation": self._new("geometry_msgs/msg/Quaternion", {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0}),
        }
        fields = {"pose": self._new("geometry_msgs/msg/Pose", pose), "covariance": np.zeros(36)}
        return self._new("geometry_msgs/msg/PoseWithCovariance", fields)

    def _header(self, captured_ns: int, frame_id: str) -> Any:
        """Return a header with a time on the monotonic clock converted to the time of day, as ROS expects it."""
        seconds, nanoseconds = divmod(captured_ns + time.time_ns() - time.monotonic_ns(), 1_000_000_000)
        stamp = self._new("builtin_interfaces/msg/Time", {"sec": seconds, "nanosec": nanoseconds})
        return self._new("std_msgs/msg/Header", {"stamp": stamp, "frame_id": frame_id})

    def _new(self, type_name: str, fields: Fields) -> Any:
        return self._store.types[type_name](**fields)

    def _json(self, document: object) -> str:
        return self._encoder.encode(document).decode()


def token(name: str) -> str:
    """Return a name as one part of a ROS name, which contains letters, digits and single underscores only."""
    text = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "value"
    return f"n{text}" if text[0].isdigit() else text


def _answers(result: Result, model: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name of each model and its answer. The name is empty if there is only one model."""
    if isinstance(result, Answers):
        for name, answer in result.items():
            yield from _answers(answer, name)
    else:
        yield model, result


def _image_fields(result: _Labelled) -> Fields:
    """Return the fields of an image with one byte per pixel: class numbers, or 255 for the pixels of the only class."""
    classes: NDArray[np.uint8] | None = getattr(result, "classes", None)
    pixels = FOREGROUND * result.mask().view(np.uint8) if classes is None else classes
    height, width = pixels.shape
    return {
        "height": height,
        "width": width,
        "encoding": "mono8",
        "is_bigendian": 0,
        "step": width,
        "data": pixels.reshape(-1),
    }
