"""Detector outputs in every layout that encode one known box. The formulas are the inverse of the heads' formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.tasks.heads import ssd_anchors
from orilla.runtime.tasks.heads.blazeface import centres
from orilla.runtime.tasks.heads.geometry import cell_count
from orilla.runtime.tasks.heads.head import HeadSpec, Option, numbers

Floats = NDArray[np.float32]

BOX = np.array([40.5, 30.25, 101.75, 90.0], np.float32)
"""The known box: left, top, right and bottom edge in pixels of the input."""
SCORE = 0.81
CLASS = 1
CLASSES = ("cat", "dog", "bird")
HW = (128, 160)
STRIDES = (8, 16, 32)


class Encoded(NamedTuple):
    """Outputs that contain the known box, and the facts that a user would state about them."""

    outputs: dict[str, Floats]
    options: Mapping[str, Option] = MappingProxyType({})
    """Options of the layout that neither the shapes nor the values of the outputs determine."""
    input_hw: tuple[int, int] = HW
    labels: tuple[str, ...] = CLASSES
    cls: int = CLASS
    points: int = 0
    """Number of keypoints."""


def centre_and_size() -> tuple[Floats, Floats]:
    """Return the centre and size of the known box."""
    return (BOX[:2] + BOX[2:]) / np.float32(2), BOX[2:] - BOX[:2]


def logit(probability: float) -> float:
    """Return the inverse of the sigmoid function."""
    return float(np.log(probability / (1 - probability)))


def cell_of(stride: int) -> tuple[int, int]:
    """Return the column and row of the cell that contains the centre of the known box."""
    centre, _ = centre_and_size()
    return int(centre[0] // stride), int(centre[1] // stride)


def row_of(strides: tuple[int, ...], stride: int) -> int:
    """Return the index of the known box's cell among the cells of all strides."""
    column, row = cell_of(stride)
    before = cell_count(HW, strides[: strides.index(stride)])
    return before + row * (HW[1] // stride) + column


def class_scores(score: float) -> Floats:
    """Return a score for each class."""
    scores = np.full(len(CLASSES), 0.01, np.float32)
    scores[CLASS] = score
    return scores


def yolox(stride: int = 16) -> Encoded:
    """Encode the box as YOLOX does."""
    (x, y), (width, height) = centre_and_size()
    rows = np.zeros((cell_count(HW, STRIDES), 5 + len(CLASSES)), np.float32)
    rows[:, 2:4] = -1
    column, row = cell_of(stride)
    sizes = np.log(width / stride), np.log(height / stride)
    rows[row_of(STRIDES, stride)] = [x / stride - column, y / stride - row, *sizes, 0.9, *class_scores(SCORE / 0.9)]
    return Encoded({"output": rows})


def yolo_v5(*, normalised: bool = False) -> Encoded:
    """Encode the box as detectors in the style of YOLOv5 do."""
    centre, size = centre_and_size()
    scale = np.array(HW[::-1] if normalised else (1, 1), np.float32)
    rows = np.zeros((3 * cell_count(HW, STRIDES), 5 + len(CLASSES)), np.float32)
    rows[:, :4] = np.tile(np.array([80, 60, 20, 20]) / np.tile(scale, 2), (len(rows), 1))
    rows[99] = [*centre / scale, *size / scale, 0.9, *class_scores(SCORE / 0.9)]
    return Encoded({"output": rows})


def yolo_plain(*, transposed: bool = True, normalised: bool = False) -> Encoded:
    """Encode the box without objectness."""
    centre, size = centre_and_size()
    scale = np.array(HW[::-1] if normalised else (1, 1), np.float32)
    rows = np.zeros((cell_count(HW, STRIDES), 4 + len(CLASSES)), np.float32)
    rows[:, :4] = np.tile(np.array([80, 60, 20, 20]) / np.tile(scale, 2), (len(rows), 1))
    rows[77] = [*centre / scale, *size / scale, *class_scores(SCORE)]
    return Encoded({"output0": rows.T if transposed else rows})


def yolo_keypoints(*, visibility: bool = True) -> Encoded:
    """Encode the box with two keypoints, at two corners of the box. The other boxes have keypoints at their centres."""
    centre, size = centre_and_size()
    values = np.zeros((5 + 6, cell_count(HW, STRIDES)), np.float32)
    values[:4] = [[80], [60], [20], [20]]
    values[5:] = [[80], [60], [0], [80], [60], [0]]
    values[:, 77] = [*centre, *size, SCORE, *BOX[:2], 1, *BOX[2:], 1]
    if not visibility:
        values = np.delete(values, (7, 10), axis=0)
    return Encoded({"output0": values}, labels=("person",), cls=0, points=2)


def yolo_dfl(*, channels_first: bool = False) -> Encoded:
    """Encode the box as distributions of distances. A distance between two bins is divided between these bins."""
    stride = 16
    column, row = cell_of(stride)
    centre = (np.array([column, row]) + 0.5) * stride
    distances = np.abs(np.concatenate([centre - BOX[:2], BOX[2:] - centre])) / stride
    grids = {f"grid{s}": np.zeros((HW[0] // s, HW[1] // s, 64 + len(CLASSES)), np.float32) for s in STRIDES}
    for grid in grids.values():
        grid[..., 64:] = -8
    codes = np.full((4, 16), -60, np.float32)
    for side, distance in enumerate(distances):
        low = int(distance)
        codes[side, low] = np.log(max(1e-20, 1 - (distance - low)))
        codes[side, low + 1] = np.log(max(1e-20, distance - low))
    grids["grid16"][row, column] = [*codes.ravel(), *[-8, logit(SCORE), -8]]
    if channels_first:
        grids = {name: np.moveaxis(grid, 2, 0) for name, grid in grids.items()}
    return Encoded(grids)


ANCHORS = ((10, 13, 16, 30, 33, 23), (30, 61, 62, 45, 59, 119), (116, 90, 156, 198, 373, 326))
"""The anchors of YOLOv3 for COCO: widths and heights for the strides 8, 16 and 32."""


def yolo_anchors(formula: str = "exponential") -> Encoded:
    """Encode the box relative to the second anchor of a cell."""
    stride = 16
    (x, y), (width, height) = centre_and_size()
    column, row = cell_of(stride)
    left, top = x / stride - column, y / stride - row
    if formula == "exponential":
        codes = [logit(left), logit(top), np.log(width / 62), np.log(height / 45)]
    else:
        codes = [logit((left + 0.5) / 2), logit((top + 0.5) / 2)]
        codes += [logit(np.sqrt(width / 62) / 2), logit(np.sqrt(height / 45) / 2)]
    grids = {f"grid{s}": np.full((HW[0] // s, HW[1] // s, 3, 5 + len(CLASSES)), -8, np.float32) for s in STRIDES}
    grids["grid16"][row, column, 1] = [*codes, logit(0.9), -8, logit(SCORE / 0.9), -8]
    outputs = {name: grid.reshape(*grid.shape[:2], -1) for name, grid in grids.items()}
    return Encoded(outputs, {"anchors": numbers(ANCHORS), "formula": formula})


def ssd() -> Encoded:
    """Encode the known box as the outputs of TensorFlow Lite's operator `TFLite_Detection_PostProcess`."""
    height, width = HW
    boxes = np.zeros((10, 4), np.float32)
    boxes[0] = [BOX[1] / height, BOX[0] / width, BOX[3] / height, BOX[2] / width]
    classes, scores = np.zeros(10, np.float32), np.zeros(10, np.float32)
    classes[0], scores[0] = CLASS, SCORE
    scores[5] = 0.9  # The last row lies beyond the number of detections.
    count = np.array([3], np.float32)
    return Encoded({"op": boxes, "op:1": classes, "op:2": scores, "op:3": count})


ANCHOR_OPTIONS: dict[str, Option] = {
    "grids": numbers([[8, 10], [4, 5]]),
    "sizes": numbers([[20.0, 30.0], [60.0, 80.0, 90.0]]),
    "aspect_ratios": numbers([[1.0, 2.0], [1.0, 2.0, 0.5]]),
}


def anchored(activation: str = "softmax") -> Encoded:
    """Encode the box relative to an anchor of an SSD network."""
    spec = HeadSpec("ssd_anchors", {}, ANCHOR_OPTIONS)
    anchors, index = ssd_anchors.anchors_of(spec, HW), 160 + 3 * 8
    boxes = np.zeros((len(anchors), 4), np.float32)
    boxes[index] = ssd_anchors.encode(BOX[None], anchors[index][None], [0.1, 0.1, 0.2, 0.2])[0]
    if activation == "softmax":
        scores = np.full((len(anchors), 1 + len(CLASSES)), 1e-3, np.float32)
        scores[:, 0] = 1 - 3e-3
        scores[index] = [1 - SCORE - 2e-3, 1e-3, SCORE, 1e-3]
        scores = np.log(scores)
    else:
        scores = np.full((len(anchors), len(CLASSES)), -8, np.float32)
        scores[index, CLASS] = logit(SCORE)
    return Encoded({"box_encodings": boxes, "scores": scores}, ANCHOR_OPTIONS | {"activation": activation})


def anchored_maps() -> Encoded:
    """Encode the box like `anchored`, with two outputs for each feature map."""
    whole, parts = anchored("sigmoid"), {}
    start = 0
    for (rows, columns), per_cell in zip(((8, 10), (4, 5)), (2, 3), strict=True):
        end = start + rows * columns * per_cell
        for name, array in whole.outputs.items():
            parts[f"{name}_{rows}"] = array[start:end].reshape(rows, columns, -1)
        start = end
    return Encoded(parts, whole.options)


def detr(activation: str = "softmax") -> Encoded:
    """Encode the box as an object query."""
    centre, size = centre_and_size()
    boxes, scale = np.full((50, 4), 0.5, np.float32), np.array(HW[::-1], np.float32)
    boxes[7] = [*centre / scale, *size / scale]
    logits = np.full((50, len(CLASSES) + (activation == "softmax")), -8, np.float32)
    logits[7, CLASS] = logit(SCORE)
    if activation == "softmax":
        logits[:, -1] = 8
        logits[7] = np.log([1e-3, SCORE, 1e-3, 1 - SCORE - 2e-3])
    return Encoded({"pred_logits": logits, "pred_boxes": boxes})


def detr_single() -> Encoded:
    """Encode the box as an object query with box and probabilities in one output."""
    pair = detr("sigmoid").outputs
    boxes, logits = (np.resize(pair[name], (300, pair[name].shape[1])) for name in ("pred_boxes", "pred_logits"))
    logits[8:] = logit(0.01)
    rows = np.concatenate([boxes, 1 / (1 + np.exp(-logits))], axis=1)
    return Encoded({"output0": rows.astype(np.float32)})


def yunet() -> Encoded:
    """Encode the box as YuNet does, with all keypoints at the top left corner of the box."""
    stride, outputs = 16, {}
    columns = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    for kind, count in columns.items():
        for s in STRIDES:
            outputs[f"{kind}_{s}"] = np.zeros((cell_count(HW, (s,)), count), np.float32)
    (x, y), (width, height) = centre_and_size()
    column, row = cell_of(stride)
    index = row * (HW[1] // stride) + column
    outputs["cls_16"][index], outputs["obj_16"][index] = SCORE, SCORE
    sizes = np.log(width / stride), np.log(height / stride)
    outputs["bbox_16"][index] = [x / stride - column, y / stride - row, *sizes]
    outputs["kps_16"][index] = np.tile(BOX[:2] / stride - [column, row], 5)
    return Encoded(outputs, labels=("face",), cls=0, points=5)


def blazeface(size: int = 128) -> Encoded:
    """Encode the box as MediaPipe's face detectors do, with all keypoints at the top left corner of the box."""
    grids = {128: ((8, 16), (2, 6)), 256: ((16, 32), (2, 6)), 192: ((4,), (1,))}[size]
    anchors = centres((size, size), *grids)
    centre, extent = centre_and_size()
    boxes, scores = np.zeros((len(anchors), 16), np.float32), np.full((len(anchors), 1), -90, np.float32)
    boxes[300] = [*centre - anchors[300], *extent, *np.tile(BOX[:2] - anchors[300], 6)]
    scores[300] = logit(SCORE)
    return Encoded({"regressors": boxes, "classificators": scores}, {}, (size, size), ("face",), 0, 6)


def centernet(*, channels_first: bool = False) -> Encoded:
    """Encode the box as a peak of a heat map. The cells next to the peak also have high scores."""
    stride = 4
    grid = (HW[0] // stride, HW[1] // stride)
    heat, size, offset = (np.zeros((*grid, count), np.float32) for count in (len(CLASSES), 2, 2))
    centre, extent = centre_and_size()
    column, row = cell_of(stride)
    heat[row - 1 : row + 2, column - 1 : column + 2, CLASS] = 0.7
    heat[row, column, CLASS] = SCORE
    size[row, column], offset[row, column] = extent / stride, centre / stride - [column, row]
    outputs = {"hm": heat, "wh": size, "reg": offset}
    if channels_first:
        outputs = {name: np.moveaxis(array, 2, 0) for name, array in outputs.items()}
    return Encoded(outputs)


def suppressed(columns: str = "x1 y1 x2 y2 score class") -> Encoded:
    """Write the box as an output row of a network that contains non-maximum suppression."""
    values = dict(zip(("x1", "y1", "x2", "y2"), BOX, strict=True)) | {"score": SCORE, "class": CLASS, "batch": 0}
    rows = np.zeros((20, len(columns.split())), np.float32)
    rows[0] = [values[name] for name in columns.split()]
    rows[1] = [values[name] + (name in ("x2", "y2")) - 0.8 * (name == "score") for name in columns.split()]
    return Encoded({"output": rows})


def suppressed_in_three() -> Encoded:
    """Write the box in three outputs, as torchvision's detectors do."""
    boxes = np.stack([BOX, BOX])
    return Encoded(
        {"boxes": boxes, "labels": np.array([1, 2], np.float32), "scores": np.array([SCORE, 0.1], np.float32)}
    )


ENCODINGS: dict[str, list[Callable[[], Encoded]]] = {
    "ssd": [ssd],
    "ssd_anchors": [anchored, lambda: anchored("sigmoid"), anchored_maps],
    "yolo_objectness": [yolox, lambda: yolox(8), yolo_v5, lambda: yolo_v5(normalised=True)],
    "yolo_anchors": [yolo_anchors, lambda: yolo_anchors("squared")],
    "yolo_plain": [
        yolo_plain,
        lambda: yolo_plain(transposed=False),
        lambda: yolo_plain(normalised=True),
        yolo_keypoints,
        lambda: yolo_keypoints(visibility=False),
    ],
    "yolo_dfl": [yolo_dfl, lambda: yolo_dfl(channels_first=True)],
    "detr": [detr, lambda: detr("sigmoid"), detr_single],
    "yunet": [yunet],
    "blazeface": [blazeface, lambda: blazeface(192), lambda: blazeface(256)],
    "centernet": [centernet, lambda: centernet(channels_first=True)],
    "nms_in_graph": [
        suppressed,
        lambda: suppressed("class score x1 y1 x2 y2"),
        lambda: suppressed("batch x1 y1 x2 y2 class score"),
        lambda: suppressed("batch class score x1 y1 x2 y2"),
        suppressed_in_three,
    ],
}
"""Functions that encode the known box, for each layout."""


def completed(spec: HeadSpec, encoded: Encoded) -> HeadSpec:
    """Return the specification with the options that a user would state."""
    return msgspec.structs.replace(spec, options=spec.options | dict(encoded.options))
