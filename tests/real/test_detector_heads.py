"""The heads decode the outputs of published detectors into the boxes that the detectors' own libraries compute."""

import json
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnxruntime
import pytest

from orilla.runtime.preprocessing.image import Preprocess, prepare
from orilla.runtime.tasks.heads import registry

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def yolox(data_root):
    """Return the folder of YOLOX-nano and its pictures."""
    return data_root / "detection" / "yolox_nano"


@pytest.fixture(scope="module")
def pictures(yolox):
    return {file.name: cv2.imread(str(file)) for file in sorted((yolox / "pictures").glob("*.jpg"))}


def only_spec(outputs, input_hw):
    """Return the only specification that fits the outputs."""
    specs = registry.recognise({name: array.shape for name, array in outputs.items()}, input_hw)
    (spec,) = registry.refine(specs, outputs, input_hw)
    return spec


def iou(one, other):
    size = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None).prod()
    return size / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - size)


LETTERBOX = Preprocess(
    (416, 416), color="bgr", resize="letterbox", interpolation="linear", anchor="top-left", rounding="down", fill=114
)


def test_yolox_nano_finds_the_expected_boxes(yolox, pictures):
    expected = json.loads((yolox / "expected_onnxruntime.json").read_text())["detections"]
    labels = (yolox / "coco_classes.txt").read_text().split("\n")
    session = onnxruntime.InferenceSession(yolox / "yolox_nano.onnx")
    for name, image in pictures.items():
        square, placement = prepare(image, LETTERBOX), LETTERBOX.placement(image.shape[:2])
        outputs = {"output": session.run(None, {"images": square.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]}
        spec = msgspec.structs.replace(only_spec(outputs, (416, 416)), score_threshold=0.35, iou_threshold=0.45)
        found = registry.detect(outputs, spec, (416, 416))
        assert len(found) == len(expected[name])
        # The expected values are rounded to a tenth of a pixel, which changes the IoU of the smallest box by 0.01.
        corners = placement.to_frame(found.boxes_xyxy.reshape(-1, 2, 2))
        corner, size = corners[:, 0].round(1), np.diff(corners, axis=1)[:, 0].round(1)
        boxes = np.concatenate([corner, corner + size], axis=1)
        for row in expected[name]:
            box = np.array([*row["xywh"][:2], *np.add(row["xywh"][:2], row["xywh"][2:])])
            index = max(range(len(found)), key=lambda index, box=box: iou(boxes[index], box))
            assert iou(boxes[index], box) >= 0.99
            assert found.scores[index] == pytest.approx(row["score"], abs=0.01)
            assert labels[found.classes[index]] == row["label"]


def test_yunet_finds_the_faces_that_opencv_finds(data_root, pictures):
    file = data_root / "onnx" / "face_detection_yunet_2026may.onnx"
    session, faces = onnxruntime.InferenceSession(file), 0
    for image in pictures.values():
        height, width = (side // 32 * 32 for side in image.shape[:2])
        image = np.ascontiguousarray(image[:height, :width])
        arrays = session.run(None, {"input": image.transpose(2, 0, 1)[None].astype(np.float32)})
        outputs = {output.name: array[0] for output, array in zip(session.get_outputs(), arrays, strict=True)}
        spec = msgspec.structs.replace(only_spec(outputs, (height, width)), score_threshold=0.3)
        found = registry.detect(outputs, spec, (height, width))
        _, theirs = cv2.FaceDetectorYN.create(str(file), "", (width, height), 0.3, 0.3, 5000).detect(image)
        assert len(found) == (0 if theirs is None else len(theirs))
        if len(found):
            size = found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]
            points = found.keypoints.reshape(len(found), -1)
            ours = np.column_stack([found.boxes_xyxy[:, :2], size, points, found.scores])
            assert ours == pytest.approx(theirs, abs=1e-3)
            faces += len(found)
    assert faces > 10


def run_tflite(file: Path, image):
    """Return the outputs of a `.tflite` file for an RGB image, whose values are scaled to -1..1."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
    interpreter.invoke()
    return {
        details["name"]: interpreter.get_tensor(details["index"])[0] for details in interpreter.get_output_details()
    }


@pytest.mark.parametrize("model", ["short_range", "full_range", "full_range_sparse"])
def test_mediapipe_finds_the_face_that_yunet_finds(model, data_root, pictures):
    """The two networks define the extent of a face differently, so the boxes are only similar."""
    side = 128 if model == "short_range" else 192
    left, top, width = 44, 55, 140
    face = np.array([90.1, 86.5, 137.3, 163.9])  # YuNet finds this box.
    crop = cv2.resize(pictures["000000009590.jpg"][top : top + width, left : left + width], (side, side))
    image = crop[..., ::-1].astype(np.float32) / 127.5 - 1
    outputs = run_tflite(data_root / "mediapipe" / f"face_detection_{model}.tflite", image)
    spec = only_spec(outputs, (side, side))
    assert spec.layout == "blazeface"
    found = registry.detect(outputs, spec, (side, side))
    assert len(found) == 1
    box = found.boxes_xyxy[0] * width / side + np.tile([left, top], 2)
    assert iou(box, face) > 0.5
    eyes, mouth = found.keypoints[0, :2, 1], found.keypoints[0, 3, 1]
    assert (eyes < mouth).all()
