"""Tracking of the cars in a real video, found by YOLOX-nano."""

import cv2
import msgspec
import numpy as np
import onnxruntime
import pytest

from orilla.runtime.preprocessing.image import Preprocess, prepare
from orilla.runtime.tasks import detect
from orilla.runtime.tasks.heads.head import HeadSpec
from orilla.runtime.tasks.task import DecodeContext
from orilla.runtime.tracking.stage import TrackStage
from orilla.runtime.tracking.track import Track

pytestmark = pytest.mark.real_data

LETTERBOX = Preprocess(
    (416, 416), color="bgr", resize="letterbox", interpolation="linear", anchor="top-left", rounding="down", fill=114
)
HEAD = HeadSpec("yolo_objectness", {"predictions": "output"}, {"encoding": "yolox"}, score_threshold=0.4)
STEP = 2
"""Step between the frames of the video that are used."""


@pytest.fixture(scope="module")
def labels(data_root):
    return tuple((data_root / "detection" / "yolox_nano" / "coco_classes.txt").read_text().split("\n")[:80])


@pytest.fixture(scope="module")
def detections(data_root, labels):
    """Return the detections, including those with low scores, and the time in nanoseconds of each frame."""
    session = onnxruntime.InferenceSession(data_root / "detection" / "yolox_nano" / "yolox_nano.onnx")
    video = cv2.VideoCapture(str(data_root / "video" / "car-detection.mp4"))
    rate_hz, found = video.get(cv2.CAP_PROP_FPS), []
    while video.grab():
        index = len(found)
        found.append(None)
        if index % STEP:
            continue
        _, image = video.retrieve()
        low = msgspec.structs.replace(HEAD, score_threshold=0.1)
        array = prepare(image, LETTERBOX).transpose(2, 0, 1)[None].astype(np.float32)
        outputs = {"output": session.run(None, {"images": array})[0][0]}
        context = DecodeContext(labels, LETTERBOX, image.shape[:2], low)
        found[index] = detect.TASK.decode(outputs, context), round(1e9 * index / rate_hz)
    return [one for one in found if one is not None]


@pytest.mark.parametrize("step", [1, 2])
def test_each_of_the_four_cars_gets_one_number(detections, labels, step):
    """Two cars drive up and two drive down.

    The camera looks down on the cars, so the detector confuses their class. It usually finds a mobile phone.
    """
    settings = Track(lines={"middle": ((0, 0.5), (1, 0.5))}, class_wise=False)
    stage = TrackStage(settings, DecodeContext(labels, LETTERBOX, None, HEAD))
    answers = [stage(*one) for one in detections[::step]]
    assert {box.track for answer in answers for box in answer.boxes} - {None} == {1, 2, 3, 4}
    assert answers[-1].counts["middle"].total == {"in": 2, "out": 2}
