"""The twelve outputs of YuNet, OpenCV's face detector: class, objectness, box and keypoints for each of three strides.

Source: OpenCV, `modules/objdetect/src/face_detect.cpp` (Apache-2.0), which contains the formulas score = sqrt(class *
objectness), centre = (cell + value) * stride, size = exp(value) * stride and keypoint = (cell + value) * stride.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orilla.runtime.tasks.heads.geometry import candidate_grid, cell_count, corners, expanded
from orilla.runtime.tasks.heads.head import Detections, Floats, Head, HeadSpec, Outputs, Shapes, bare_shapes

STRIDES = (8, 16, 32)
COLUMNS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
"""Number of values per cell for each kind of output."""


class YuNet(Head):
    """The outputs `cls [A,1]`, `obj [A,1]`, `bbox [A,4]` and `kps [A,10]` for each of the strides 8, 16 and 32."""

    name = "yunet"
    title = "cls [A,1], obj [A,1], bbox [A,4], kps [A,10] for strides 8, 16 and 32: YuNet"
    labels = ("face",)
    roles = tuple(f"{kind}_{stride}" for kind in COLUMNS for stride in STRIDES)

    def recognise(self, shapes: Shapes, input_hw: tuple[int, int], names_hint: Sequence[str] = ()) -> HeadSpec | None:
        """Recognise twelve outputs of these shapes. The score does not change if `cls` and `obj` are swapped."""
        if len(shapes) != len(self.roles) or len(names_hint) > 1:
            return None
        left, found = bare_shapes(shapes), {}
        for kind, columns in COLUMNS.items():
            for stride in STRIDES:
                fitting = [name for name, shape in left.items() if shape == (cell_count(input_hw, (stride,)), columns)]
                if not fitting:
                    return None
                found[f"{kind}_{stride}"] = next((name for name in fitting if kind in name.lower()), fitting[0])
                del left[found[f"{kind}_{stride}"]]
        return HeadSpec(self.name, found, score_threshold=0.6, iou_threshold=0.3)

    def mismatch(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        """Return an error message if the number of values or cells of an output is wrong, or None."""
        for role, shape in shapes.items():
            kind, stride = role.split("_")
            expected = (*shapes[f"bbox_{stride}"][:1], COLUMNS[kind])
            if len(shape) != 2 or shape != expected:
                return f"{role} has shape {list(shape)}, but needs {list(expected)}"
        return None

    def class_count(self, spec: HeadSpec, shapes: Shapes) -> int:
        """Return 1, because faces are the only class."""
        return 1

    def decode(self, outputs: Outputs, spec: HeadSpec, input_hw: tuple[int, int]) -> Detections:
        """Convert outputs into boxes with five keypoints: eyes, nose and corners of the mouth.

        Overlapping boxes are not yet suppressed.
        """
        arrays = self.arrays(outputs, spec)
        class_score, objectness, boxes, points = (_joined(arrays, kind) for kind in COLUMNS)
        scores = np.sqrt(np.clip(class_score, 0, 1) * np.clip(objectness, 0, 1))[:, 0]
        chosen = np.flatnonzero(scores >= spec.score_threshold)
        grid = candidate_grid(len(scores), input_hw, STRIDES)[chosen]
        corner, stride = grid[:, :2], grid[:, 2:]
        found = corners((corner + boxes[chosen, :2]) * stride, expanded(boxes[chosen, 2:]) * stride)
        keypoints = (points[chosen].reshape(-1, 5, 2) + corner[:, None]) * stride[:, None]
        return Detections(found, scores[chosen], np.zeros(len(chosen), np.int64), keypoints)


def _joined(arrays: dict[str, Floats], kind: str) -> Floats:
    """Return the outputs of one kind for all strides as one array, `[A,columns]`."""
    return np.concatenate([arrays[f"{kind}_{stride}"].reshape(-1, COLUMNS[kind]) for stride in STRIDES])


HEAD = YuNet()
