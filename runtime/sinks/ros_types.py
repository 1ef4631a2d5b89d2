"""The types of ROS 2 messages. `rosbags` encodes messages as CDR, so ROS need not be installed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from orilla.devices.errors import ConfigError
from orilla.runtime.frame import Event

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
"""Definitions of `vision_msgs` 4, used since ROS 2 Humble. Source: <https://docs.ros.org/en/jazzy/p/vision_msgs>."""

DETECTIONS, CLASSIFICATION = "vision_msgs/msg/Detection2DArray", "vision_msgs/msg/Classification"
STRING, NUMBER = "std_msgs/msg/String", "std_msgs/msg/Float64"
IMAGE, COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


class RosTypes:
    """Creates messages, and converts them into CDR.

    Args:
        prepared: Types whose conversion is prepared in advance, so that the first tick is not delayed.
    """

    def __init__(self, *prepared: str) -> None:
        self._encoder = msgspec.json.Encoder()
        self._store = get_typestore(Stores.ROS2_HUMBLE)
        for name, text in VISION_MESSAGES.items():
            self._store.register(get_types_from_msg(text, f"vision_msgs/msg/{name}"))
        for kind in prepared:
            self._store.get_msgdef(kind)

    def definition(self, kind: str) -> str:
        """Return the definition of a message and of all message types that it contains, in the format of ROS 2."""
        return str(self._store.generate_msgdef(kind, ros_version=2)[0])

    def hash_of(self, kind: str) -> str:
        """Return the hash of a type (`RIHS01_…`), with which ROS 2 detects a different version of the type."""
        return self._store.hash_rihs01(kind)

    def new(self, kind: str, **fields: Any) -> Any:
        """Return a message of the type `kind`, such as `std_msgs/msg/String`."""
        return self._store.types[kind](**fields)

    def encode(self, message: Any, kind: str) -> bytes:
        """Return a message in CDR."""
        return bytes(self._store.serialize_cdr(message, kind))

    def decode(self, data: bytes, kind: str) -> Any:
        """Return the message in the bytes that `encode` returned."""
        return self._store.deserialize_cdr(data, kind)

    def header(self, at_ns: int, frame_id: str) -> Any:
        """Return a header with a time in nanoseconds since 1970, and the name of a coordinate frame."""
        stamp = self.new("builtin_interfaces/msg/Time", sec=at_ns // 10**9, nanosec=at_ns % 10**9)
        return self.new("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def text(self, document: object) -> Any:
        """Return a JSON document as a message of the type `STRING`."""
        return self.new(STRING, data=self._encoder.encode(document).decode())

    def event(self, event: Event) -> Any:
        """Return an event as a JSON document in a message of the type `STRING`."""
        return self.text({key: value for key, value in msgspec.structs.asdict(event).items() if value is not None})

    def detections(self, header: Any, boxes: Iterable[Any]) -> Any:
        """Return boxes with `label`, `score`, `xyxy` and `track` as a message of the type `DETECTIONS`."""
        return self.new(DETECTIONS, header=header, detections=[self._detection(header, box) for box in boxes])

    def classification(self, header: Any, scores: Iterable[Any]) -> Any:
        """Return classes with `label` and `score` as a message of the type `CLASSIFICATION`."""
        results = [self._hypothesis(one.label, one.score) for one in scores]
        return self.new(CLASSIFICATION, header=header, results=results)

    def compressed(self, header: Any, image: NDArray[np.uint8], quality: int) -> Any:
        """Return an image as JPEG in a message of the type `COMPRESSED_IMAGE`.

        Raises:
            ConfigError: JPEG cannot contain the image.
        """
        try:
            _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        except cv2.error as error:
            msg = f"a frame of {image.shape[1]}x{image.shape[0]} pixels cannot be compressed as JPEG: omit frames"
            raise ConfigError(msg) from error
        return self.new(COMPRESSED_IMAGE, header=header, format="jpeg", data=data.reshape(-1))

    def _detection(self, header: Any, box: Any) -> Any:
        """Return one box as a message. Its pose is unknown, so the covariance is zero, as is usual in `vision_msgs`."""
        left, top, right, bottom = box.xyxy
        pose = self.new(
            "geometry_msgs/msg/PoseWithCovariance",
            pose=self.new(
                "geometry_msgs/msg/Pose",
                position=self.new("geometry_msgs/msg/Point", x=0.0, y=0.0, z=0.0),
                orientation=self.new("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
            ),
            covariance=np.zeros(36),
        )
        position = self.new("vision_msgs/msg/Point2D", x=(left + right) / 2, y=(top + bottom) / 2)
        centre = self.new("vision_msgs/msg/Pose2D", position=position, theta=0.0)
        hypothesis = self._hypothesis(box.label, box.score)
        return self.new(
            "vision_msgs/msg/Detection2D",
            header=header,
            results=[self.new("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=hypothesis, pose=pose)],
            bbox=self.new("vision_msgs/msg/BoundingBox2D", center=centre, size_x=right - left, size_y=bottom - top),
            id="" if box.track is None else str(box.track),
        )

    def _hypothesis(self, label: str, score: float) -> Any:
        return self.new("vision_msgs/msg/ObjectHypothesis", class_id=label, score=score)


def ros_token(name: str) -> str:
    """Convert a name to one part of a ROS name, which contains only letters, digits and single underscores."""
    text = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "value"
    return f"n{text}" if text[0].isdigit() else text
