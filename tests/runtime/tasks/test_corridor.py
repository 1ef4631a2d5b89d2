import math

import numpy as np
import pytest

import orilla.runtime
from orilla.devices.errors import ConfigError
from orilla.runtime.preprocessing.placement import stretched
from orilla.runtime.tasks.corridor import GroundPlane, area_ahead, corridor
from orilla.runtime.tasks.segmentation import ClassSegmentation, Segmentation

HEIGHT, WIDTH = 120, 160


def road(middle=80, *, half=40, top=30):
    """Return a mask of a straight road that becomes narrower towards row `top`."""
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    for row in range(top, HEIGHT):
        reach = half * (row - top + 1) / (HEIGHT - top)
        mask[row, max(0, round(middle - reach)) : min(WIDTH, round(middle + reach))] = True
    return mask


@pytest.mark.parametrize(("middle", "direction"), [(80, 0.0), (40, -0.5), (120, 0.5), (150, 0.8)])
def test_the_direction_is_that_of_the_middle(middle, direction):
    found = corridor(road(middle))
    assert found is not None
    assert found.steer() == pytest.approx(direction, abs=0.1)
    assert found.horizon == pytest.approx(30 / HEIGHT, abs=0.02)


def test_the_polygon_surrounds_the_corridor():
    polygon = corridor(road()).polygon()
    assert polygon[0].tolist() == [40, HEIGHT - 1]
    assert polygon[-1].tolist() == [120, HEIGHT - 1]
    assert polygon[:, 1].min() == pytest.approx(30, abs=2)


def test_only_the_connected_part_counts():
    mask = road(60, half=30)
    mask[:50, 130:] = True  # This second road does not reach the lower edge.
    mask[20:28, :] = True
    found = corridor(mask)
    assert found.right.max() < 100
    assert found.horizon == pytest.approx(30 / HEIGHT, abs=0.02)


def test_at_a_fork_the_wider_overlap_is_followed():
    mask = road(80, half=60)
    mask[30:80, 70:80] = False
    found = corridor(mask)
    assert found.left[-10:].min() >= 75


def test_without_a_road_there_is_no_direction():
    assert corridor(np.zeros((HEIGHT, WIDTH), np.bool_)) is None
    sky = np.zeros((HEIGHT, WIDTH), np.bool_)
    sky[:60] = True
    assert corridor(sky) is None
    short = np.zeros((HEIGHT, WIDTH), np.bool_)
    short[-8:] = True
    assert corridor(short).steer() is None
    assert corridor(short).steer((0.9, 1.0)) == 0.0


def test_the_bonnet_of_the_robot_may_cover_the_lowest_rows():
    mask = road()
    mask[-9:] = False
    assert corridor(mask).steer() == pytest.approx(0, abs=0.02)


def test_bad_rows_are_rejected():
    with pytest.raises(ConfigError, match="with the upper limit first"):
        corridor(road()).steer((0.9, 0.5))


def test_the_area_ahead():
    assert area_ahead(np.ones((HEIGHT, WIDTH), np.bool_)) == 1
    assert area_ahead(np.zeros((HEIGHT, WIDTH), np.bool_)) == 0
    left = np.zeros((HEIGHT, WIDTH), np.bool_)
    left[:, : WIDTH // 2] = True
    assert area_ahead(left) == pytest.approx(0.5, abs=0.03)


def test_results_have_the_same_methods():
    grid = road().astype(np.float32)
    placement = stretched((HEIGHT, WIDTH), (HEIGHT, WIDTH))
    single = Segmentation(grid, placement, "road", 0.5)
    assert single.steer() == pytest.approx(0, abs=0.05)
    assert single.corridor().horizon == pytest.approx(0.25, abs=0.03)
    several = ClassSegmentation(("sky", "road"), np.stack([1 - grid, grid], axis=-1), placement)
    assert several.steer("road") == pytest.approx(single.steer(), abs=0.02)
    assert several.area_ahead("road") == pytest.approx(single.area_ahead(), abs=0.02)
    with pytest.raises(ConfigError, match="unknown class of the model"):
        several.steer("rood")


def test_every_number_of_the_json_document_is_an_attribute():
    with orilla.runtime.open("road") as model:
        result = model(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).result
    document = result.to_dict()
    assert document["fraction"] == pytest.approx(result.fraction, abs=1e-4)
    assert document["top_y"] == (None if result.top_y is None else pytest.approx(result.top_y, abs=1e-4))
    if result.centre_xy is not None:
        assert document["centre_xy"] == pytest.approx(list(result.centre_xy), abs=1e-4)


@pytest.mark.parametrize("pitch_deg", [0.0, 7.5, 30.0])
def test_pixels_are_placed_on_the_ground(pitch_deg):
    plane = GroundPlane.from_fov((480, 640), height_m=1.2, pitch_deg=pitch_deg, fov_deg=70)
    pitch, expected = math.radians(pitch_deg), [(3.0, 0.0), (5.0, 1.0), (10.0, -2.5)]
    points = []
    for ahead, across in expected:
        # Project the point on the ground into the image: rotate it into the camera's axes, and divide by the depth.
        down = 1.2 * math.cos(pitch) - ahead * math.sin(pitch)
        depth = 1.2 * math.sin(pitch) + ahead * math.cos(pitch)
        points.append((320 + plane.focal_px * across / depth, 240 + plane.focal_px * down / depth))
    assert plane.to_ground(points) == pytest.approx(np.array(expected))


def test_the_sky_is_not_on_the_ground():
    plane = GroundPlane.from_fov((480, 640), height_m=1.2, pitch_deg=0, fov_deg=70)
    assert np.isnan(plane.to_ground([(320, 240), (320, 100)])).all()
    with pytest.raises(ConfigError, match="out of range"):
        GroundPlane.from_fov((480, 640), height_m=0, pitch_deg=0, fov_deg=70)
