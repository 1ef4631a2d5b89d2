import numpy as np
import pytest

from orilla.devices.errors import BundleError, ConfigError
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.tasks.decoding import Decoding
from orilla.runtime.tasks.segment import TASK, decode
from orilla.runtime.tasks.segmentation import OUTSIDE
from orilla.runtime.tasks.task import DecodeContext, GroundTruth, Target


def test_mask_has_the_frames_size_and_the_grids_content():
    grid = np.zeros((4, 8, 1), np.float32)
    grid[2:, :, 0] = 1
    result = decode(grid, (40, 80), "road")
    assert result.mask().shape == (40, 80)
    assert result.mask().dtype == bool
    assert not result.mask()[:18].any()
    assert result.mask()[22:].all()
    assert result.probability.shape == (4, 8)
    assert result.fraction == 0.5


def test_the_result_owns_its_data():
    grid = np.ones((2, 2, 1), np.float32)
    result = decode(grid, (2, 2), "road")
    grid[:] = 0
    assert result.fraction == 1.0
    with pytest.raises(ValueError, match="read-only"):
        result.mask()[0, 0] = False


def test_one_line_says_how_much_and_where():
    grid = np.zeros((4, 8, 1), np.float32)
    grid[2:, :4] = 0.9
    assert decode(grid, (8, 8), "road").to_dict() == {
        "task": "segment",
        "label": "road",
        "fraction": 0.25,
        "centre_xy": [0.25, 0.75],
        "top_y": 0.5,
    }
    nothing = decode(np.zeros((4, 8, 1), np.float32), (8, 8), "road").to_dict()
    assert nothing["centre_xy"] is None
    assert nothing["fraction"] == 0.0


@pytest.mark.parametrize("shape", [(4, 8, 3), (2, 4, 8, 1), (1,)])
def test_other_outputs_are_refused(shape):
    with pytest.raises(BundleError, match="must have shape"):
        decode(np.zeros(shape, np.float32), (8, 8), "road")


LABELS = ("background", "road", "car")
CLASSES = np.array([[0, 0, 0, 2], [0, 1, 1, 2], [1, 1, 1, 1]])
"""Class indices of a grid of 3 x 4 cells."""
FORMS = {
    "scores": np.eye(3, dtype=np.float32)[CLASSES],
    "planes": np.eye(3, dtype=np.float32)[CLASSES].transpose(2, 0, 1),
    "logits": 9 * np.eye(3, dtype=np.float32)[CLASSES] - 4,
    "numbers": CLASSES.astype(np.float32),
    "numbers with an axis": CLASSES.astype(np.float32)[..., None],
}
"""Layouts in which networks output the classes of a grid."""


@pytest.mark.parametrize("form", FORMS)
def test_several_classes_have_a_mask_each(form):
    result = TASK.decode({"output": FORMS[form]}, DecodeContext(LABELS, frame_hw=(30, 40)))
    assert np.array_equal(result.classes[5::10, 5::10], CLASSES)
    assert np.array_equal(result.mask("car"), result.classes == 2)
    assert result.fractions == {"background": 4 / 12, "road": 6 / 12, "car": 2 / 12}
    assert [entry["label"] for entry in result.to_dict()["classes"]] == ["road", "background", "car"]
    with pytest.raises(ConfigError, match="unknown class of the model 'tram'"):
        result.mask("tram")


def test_classes_lie_where_a_letterbox_put_the_frame():
    spec = Preprocess(size_hw=(40, 40), resize="letterbox")
    grid = np.zeros((4, 4), np.float32)
    grid[1:3, :2] = 1
    context = DecodeContext(LABELS, spec, frame_hw=(200, 400))
    result = TASK.decode({"output": grid}, context)
    assert result.classes.shape == (200, 400)
    assert result.mask("road")[:, :200].all()
    assert not result.mask("road")[:, 200:].any()
    assert result.fractions["road"] == 0.5


def test_pixels_that_a_crop_left_out_have_no_class():
    context = DecodeContext(LABELS, Preprocess(size_hw=(40, 40), resize="crop"), frame_hw=(40, 80))
    result = TASK.decode({"output": np.ones((4, 4), np.float32)}, context)
    assert (result.classes[:, :20] == OUTSIDE).all()
    assert (result.classes[:, 20:60] == 1).all()
    assert not result.mask("background").any()


def test_the_mean_iou_is_that_of_the_classes_that_occur():
    truth = np.array([[0, 0, 0, 255], [0, 1, 1, 1], [1, 1, 1, 1]], np.uint8)
    target = Target(TASK, DecodeContext(LABELS), (0, 1, 7), ignore=255)
    metrics = target.metrics([(GroundTruth("a", truth), {"output": CLASSES.astype(np.float32)})]).metrics()
    assert metrics["iou/background"] == 1.0
    assert metrics["iou/road"] == pytest.approx(6 / 7)
    assert metrics["iou/car"] == 0.0
    assert metrics["iou"] == pytest.approx((1 + 6 / 7) / 3)
    assert metrics["pixel_accuracy"] == pytest.approx(10 / 11)


def test_logits_of_one_class_become_probabilities():
    context = DecodeContext(("road",), decoding=Decoding(activation="sigmoid"), frame_hw=(4, 8))
    result = TASK.decode({"output": np.full((1, 4, 8), np.log(3), np.float32)}, context)
    assert result.probability.max() == pytest.approx(0.75)
    assert result.mask().all()
