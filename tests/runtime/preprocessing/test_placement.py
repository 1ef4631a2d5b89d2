import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orilla.devices.errors import DataError
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.placement import (
    MAX_SCALED,
    cropped,
    grid_to_frame,
    letterboxed,
    stretched,
    unscaled,
)

SPECS = (
    Preprocess((20, 30)),
    Preprocess((20, 30), resize="letterbox"),
    Preprocess((20, 30), resize="letterbox", anchor="top-left", rounding="down"),
    Preprocess((20, 30), resize="crop"),
    Preprocess((21, 21), resize="crop", crop_fraction=0.875),
)
FRAMES = ((1, 1), (1, 300), (300, 1), (40, 60), (41, 61), (7, 9), (100, 30), (30, 100))


def corners(height: float, width: float) -> np.ndarray:
    return np.array([[0, 0], [width, height]], float)


@given(
    st.sampled_from(SPECS),
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=1),
)
def test_positions_return_to_where_they_were(spec, frame_hw, points):
    placement, points = spec.placement(frame_hw), np.array(points)
    assert np.allclose(placement.to_frame(placement.to_input(points)), points, atol=1e-6)
    assert np.allclose(placement.to_input(placement.to_frame(points)), points, atol=1e-6)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.resize}-{spec.rounding}")
@pytest.mark.parametrize("frame_hw", FRAMES)
def test_the_visible_parts_lie_inside_and_correspond(spec, frame_hw):
    placement = spec.placement(frame_hw)
    left, top, right, bottom = placement.visible_input_xyxy
    assert 0 <= left < right <= spec.size_hw[1]
    assert 0 <= top < bottom <= spec.size_hw[0]
    visible = np.array(placement.visible_frame_xyxy).reshape(2, 2)
    assert (visible[0] >= 0).all()
    assert (visible[1] > visible[0]).all()
    assert (visible[1] <= np.array(frame_hw[::-1]) + 1e-9).all()
    # A letterbox rounds the frame to whole pixels, so an edge deviates by less than one pixel.
    expected = placement.to_input(visible).ravel()
    assert np.abs(expected - placement.visible_input_xyxy).max() < (1 if spec.resize == "letterbox" else 1e-6)


def test_a_box_around_the_frame_becomes_a_box_around_the_input():
    placement = stretched((480, 640), (224, 200))
    assert np.allclose(placement.to_input(corners(480, 640)), corners(224, 200))
    assert np.allclose(placement.to_frame(corners(224, 200)), corners(480, 640))
    # The centre of the frame's first pixel has the same relative position in the frame and in the input.
    assert np.allclose(placement.to_input(np.array([0.5, 0.5])), [0.5 * 200 / 640, 0.5 * 224 / 480])


def test_a_letterbox_is_scaled_equally_in_both_axes():
    placement = letterboxed((426, 640), (416, 416), "top-left", "down")
    assert placement.resized_hw == (276, 416)  # 426 * 0.65 is 276.9
    assert placement.scale_xy == (0.65, 0.65)
    assert placement.visible_input_xyxy == (0, 0, 416, 276)
    assert letterboxed((426, 640), (416, 416), "top-left", "nearest").resized_hw == (277, 416)


def test_an_odd_border_is_larger_at_the_bottom():
    placement = letterboxed((426, 640), (416, 416), "center", "nearest")
    assert placement.offset_xy == (0, 69)
    assert placement.visible_input_xyxy == (0, 69, 416, 346)
    assert placement.visible_frame_xyxy == (0, 0, 640, 426)


def test_halves_are_rounded_to_the_even_number():
    assert letterboxed((853, 1280), (640, 640), "center", "nearest").resized_hw == (426, 640)
    assert letterboxed((855, 1280), (640, 640), "center", "nearest").resized_hw == (428, 640)


@pytest.mark.parametrize("width", range(1, 600, 7))
def test_the_longer_side_fills_a_letterbox_exactly(width):
    """The quotient 416 / width is not exact in floating point: for width 23, 23 * (416 / 23) is below 416."""
    assert letterboxed((1, width), (416, 416), "top-left", "down").resized_hw[1] == 416


def test_a_letterbox_shows_at_least_one_pixel_of_each_side():
    placement = letterboxed((1, 5000), (32, 32), "center", "down")
    assert placement.resized_hw == (1, 32)
    assert placement.visible_input_xyxy == (0, 15, 32, 16)


def test_a_crop_is_that_of_torchvision():
    """A frame of 640x480 pixels is resized to 341x256 by `Resize(256)`. `CenterCrop(224)` cuts 58 columns, 16 rows."""
    placement = cropped((480, 640), (224, 224), 0.875)
    assert placement.resized_hw == (256, 341)
    assert placement.offset_xy == (-58, -16)
    assert placement.fills_input
    assert not placement.shows_whole_frame


def test_a_crop_of_a_frame_with_the_aspect_ratio_of_the_input_shows_the_whole_frame():
    placement = cropped((40, 60), (20, 30), 1.0)
    assert placement == stretched((40, 60), (20, 30))
    assert placement.shows_whole_frame


def test_a_crop_that_needs_a_huge_frame_is_rejected_in_one_line():
    with pytest.raises(DataError, match="a frame of 1x5000 pixels cannot be cropped to 224x224") as caught:
        cropped((1, 5000), (224, 224), 1.0)
    assert "\n" not in str(caught.value)
    assert MAX_SCALED < 224 * 224 * 5000


def test_a_frame_of_another_size_is_rejected_where_nothing_is_resized():
    with pytest.raises(DataError, match=r"exactly 20x30 pixels.*got 21x30"):
        unscaled((21, 30), (20, 30))


def ramp(x: np.ndarray, y: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """Return a linear function of positions 0–1. It is constant within half a cell of the edges of a grid."""
    x, y = (np.clip(values, 0.5 / count, 1 - 0.5 / count) for values, count in ((x, cells[1]), (y, cells[0])))
    return x + 2 * y


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.resize}-{spec.rounding}")
@pytest.mark.parametrize("frame_hw", [(40, 60), (41, 61), (100, 30), (30, 100), (400, 70)])
@pytest.mark.parametrize("cells", [(5, 6), (20, 30), (40, 45)])
def test_a_grid_lies_where_the_frame_lies(spec, frame_hw, cells):
    placement = spec.placement(frame_hw)
    y, x = (np.arange(cells[0])[:, None] + 0.5) / cells[0], (np.arange(cells[1])[None] + 0.5) / cells[1]
    result = grid_to_frame(ramp(x, y, cells).astype(np.float32), placement)
    scale_y, scale_x = (pixels / side for pixels, side in zip(placement.resized_hw, frame_hw, strict=True))
    rows, columns = np.arange(frame_hw[0])[:, None] + 0.5, np.arange(frame_hw[1])[None] + 0.5
    expected = ramp(
        (columns * scale_x + placement.offset_xy[0]) / spec.size_hw[1],
        (rows * scale_y + placement.offset_xy[1]) / spec.size_hw[0],
        cells,
    )
    left, top, right, bottom = placement.visible_frame_xyxy
    visible = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    assert result.shape == frame_hw
    assert result.dtype == np.float32
    # OpenCV 4 computes the positions in steps of 1/32 cell.
    assert np.abs(result - expected)[visible].max() <= 3 / 32 / min(cells)
    assert not result[~visible].any()


def test_a_stretched_grid_is_resized_by_opencv():
    grid = np.random.default_rng(0).random((12, 16), np.float32)
    placement, out = stretched((90, 121), (48, 64)), np.empty((90, 121), np.float32)
    assert grid_to_frame(grid, placement, out) is out
    assert np.array_equal(out, cv2.resize(grid, (121, 90)))


def test_the_border_of_a_letterbox_does_not_reach_the_frame():
    placement = letterboxed((24, 48), (48, 48), "center", "nearest")
    grid = np.zeros((48, 48), np.float32)
    grid[12:36] = 1
    out = np.full((24, 48), np.nan, np.float32)
    assert grid_to_frame(grid, placement, out) is out
    assert (out == 1).all()


@pytest.mark.parametrize("frame_hw", [(1, 1), (1, 300), (300, 1), (2, 299)])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.resize}-{spec.rounding}")
def test_frames_of_one_pixel_have_a_grid(spec, frame_hw):
    result = grid_to_frame(np.ones((4, 6), np.float32), spec.placement(frame_hw))
    assert result.shape == frame_hw
    assert np.isin(result, (0, 1)).all()
    assert result.any()
