"""Convert ticks and events to the messages that the sink `ros2` publishes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from orilla.runtime.frame import Boxed, CascadeResult, Event, Frame, Ranked, Tick, answers_of, wall_ns
from orilla.runtime.sinks.ros_types import (
    CLASSIFICATION,
    COMPRESSED_IMAGE,
    DETECTIONS,
    IMAGE,
    NUMBER,
    STRING,
    RosTypes,
    ros_token,
)

JPEG_QUALITY = 85
"""Quality of compressed frames, 1–100."""

FOREGROUND = 255
"""Pixel value of the class in the mask of a single-class segmentation."""


class Message(NamedTuple):
    """A message, its type, and the topic on which it is published."""

    topic: str
    """Part of the topic's name that follows the topic of the sink, such as `/image/compressed`. It may be empty."""
    kind: str
    """Name of the type, such as `std_msgs/msg/String`."""
    message: Any


@runtime_checkable
class _Masked(Protocol):
    """An answer with a mask, such as that of a segmentation."""

    def mask(self) -> NDArray[np.bool_]:
        """Return the mask of the pixels that belong to the class."""


class Messages:
    """Converts ticks and events into messages."""

    def __init__(self) -> None:
        self.types = RosTypes(DETECTIONS, CLASSIFICATION, IMAGE, COMPRESSED_IMAGE, NUMBER, STRING)

    def of_tick(self, tick: Tick, frame_id: str, *, frames: bool) -> Iterator[Message]:
        """Yield the messages that describe a tick.

        Args:
            tick: The tick.
            frame_id: Name of the camera's coordinate frame.
            frames: True to add the image with the result drawn on it.
        """
        header = self.types.header(wall_ns(tick.captured_ns), frame_id)
        cascade = isinstance(tick.result, CascadeResult)
        for model, result in [("", tick.result)] if cascade else answers_of(tick.result):
            prefix = f"/{ros_token(model)}" if model else ""
            for message in self._answer(tick, result, header):
                yield message._replace(topic=prefix + message.topic)
        if frames and isinstance(tick.frame, Frame):
            image = self.types.compressed(header, tick.draw(), JPEG_QUALITY)
            yield Message("/image/compressed", COMPRESSED_IMAGE, image)

    def of_event(self, event: Event) -> Message:
        """Return the message that describes an event."""
        return Message("/event", STRING, self.types.event(event))

    def _answer(self, tick: Tick, result: Any, header: Any) -> Iterator[Message]:
        document = result.to_dict()
        if isinstance(result, Boxed):
            yield Message("", DETECTIONS, self.types.detections(header, result.boxes))
        elif isinstance(result, Ranked):
            scores = result.top_k(len(result.labels))
            yield Message("", CLASSIFICATION, self.types.classification(header, scores))
        elif isinstance(result, _Masked):
            yield Message("", IMAGE, self.types.new(IMAGE, header=header, **_image_fields(result)))
        elif isinstance(result, Mapping):
            for name, value in result.items():
                yield Message(f"/{ros_token(name)}", NUMBER, self.types.new(NUMBER, data=float(value)))
        else:
            yield Message("", STRING, self.types.text(tick.to_dict() | {"result": document}))
        if document.get("counts"):
            yield Message("/counts", STRING, self.types.text(document["counts"]))


def _image_fields(result: _Masked) -> Mapping[str, Any]:
    """Return the fields of an image with one byte per pixel: class indices, or 255 for the pixels of the only class."""
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
