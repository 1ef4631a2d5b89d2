import numpy as np
import pytest

from orilla.runtime import scenes
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.scenes.drive import Drive
from orilla.runtime.scenes.ground import ROAD, VEHICLE, View


@pytest.mark.parametrize("seed", range(8))
def test_the_same_seed_draws_the_same_picture(seed):
    first, again = scenes.render(seed, 0.4, (90, 160)), scenes.render(seed, 0.4, (90, 160))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert first[0].shape == (90, 160, 3)
    assert first[0].dtype == first[1].dtype == np.uint8
    assert first[1].max() < len(scenes.CLASSES)


def test_labels_are_exact_where_the_geometry_is_known():
    """A pixel is labelled as road if its position on the ground is on the road and no object covers it."""
    for seed in range(6):
        _, labels = scenes.render(seed, 0.0, (180, 320))
        view = View(Drive.from_seed(seed), 0.0, 180, 320)
        expected = np.abs(view.u) < view.drive.half_width_m
        below = labels[view.top :]
        assert expected[below == ROAD].all()
        assert not (below == ROAD)[~expected].any()


def test_scenes_differ_and_hold_what_a_road_holds():
    shares, vehicles, levels = [], 0, []
    for seed in range(30):
        image, labels = scenes.render(seed, 0.0, (90, 160))
        shares.append(np.mean(labels == ROAD))
        vehicles += bool((labels == VEHICLE).any())
        levels.append(image.mean())
    assert 0.1 < np.mean(shares) < 0.6
    assert np.std(shares) > 0.03
    assert vehicles > 15
    assert np.std(levels) > 15


def test_time_moves_the_drive():
    first, later = scenes.render(3, 0.0, (90, 160))[0], scenes.render(3, 0.5, (90, 160))[0]
    assert np.abs(first.astype(int) - later).mean() > 3


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 31), (720, 1280)])
def test_any_size_is_drawn(size):
    image, labels = scenes.render(5, 1.0, size)
    assert image.shape == (*size, 3)
    assert labels.shape == size


def test_splits_share_no_drive():
    dataset = open_dataset("scenes:4")
    assert not set(dataset.names("train")) & set(dataset.names("val"))
    assert not set(dataset.names("train")) & set(open_dataset("scenes:5").names("train"))
    assert dataset.digest("train") != dataset.digest("val")
