import numpy as np
import pytest

from orilla.devices.errors import BundleError
from orilla.runtime.tasks.segment import decode


def test_mask_has_the_frames_size_and_the_grids_content():
    grid = np.zeros((4, 8, 1), np.float32)
    grid[2:, :, 0] = 1
    result = decode(grid, (40, 80), "road")
    assert result.mask.shape == (40, 80)
    assert result.mask.dtype == bool
    assert not result.mask[:18].any()
    assert result.mask[22:].all()
    assert result.probability.shape == (4, 8)
    assert result.fraction == 0.5


def test_the_result_owns_its_data():
    grid = np.ones((2, 2, 1), np.float32)
    result = decode(grid, (2, 2), "road")
    grid[:] = 0
    assert result.fraction == 1.0
    with pytest.raises(ValueError, match="read-only"):
        result.mask[0, 0] = False


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


@pytest.mark.parametrize("shape", [(4, 8, 3), (2, 4, 8, 1), (1,), (4, 8), (1, 4, 8)])
def test_other_outputs_are_refused(shape):
    with pytest.raises(BundleError, match="a segmentation outputs"):
        decode(np.zeros(shape, np.float32), (8, 8), "road")
