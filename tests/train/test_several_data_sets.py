"""Training of the road model on several data sets: classes, shares, places, held-out sets and initial weights."""

import cv2
import keras
import numpy as np
import pytest
from helpers import factories

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.cli import main
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.train.data.by_camera import degrade
from orilla.train.data.combined import CombinedDataset
from orilla.train.data.one_class import OTHER
from orilla.train.data.road import COUNTED, FRACTION, truth
from orilla.train.data.shares import Shares, split_share
from orilla.train.models.encoder import copy_weights
from orilla.train.models.segment import build, deployable
from orilla.train.options import TrainOptions
from orilla.train.train import open_data, train

SMALL = {"model": "road", "input": (64, 64), "width": 0.35, "batch": 4, "epochs": 1, "augment": False}

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def india(tmp_path_factory):
    """A data set of masks with the values 0, 1 and 255, from twelve places."""
    folder = tmp_path_factory.mktemp("sets") / "india"
    for place in range(12):
        for number in range(2):
            mask = np.zeros((24, 32), np.uint8)
            mask[12:], mask[:, 28:] = 1, 255
            name = f"{place}_{number}.png"
            factories.write_picture(folder / "images" / name, factories.picture(24, 32, seed=10 * place + number))
            factories.write_picture(folder / "masks" / name, mask)
    return folder


def test_classes_are_those_of_the_first_data_set(tiny_data, india, animals):
    first = open_dataset(tiny_data)
    combined = CombinedDataset(first, [open_dataset(india), open_dataset(animals)], label="road")
    assert combined.classes == first.classes
    own, added = len(first.names("train")), len(open_dataset(india).names("train"))
    road = first.classes.index("road")
    labels = combined.load("train", own).labels
    assert (labels[12:, :28] == road).all()
    assert (labels[:12, :28] == OTHER).all()
    assert (labels[:, 28:] == first.ignore).all()
    assert (combined.load("train", own + added).labels == OTHER).all()
    counted = truth(labels, road, first.ignore, (4, 8))
    assert counted[..., COUNTED].tolist() == [[1.0] * 7 + [0.0]] * 4
    assert counted[..., FRACTION].tolist() == [[0.0] * 8] * 2 + [[1.0] * 7 + [0.0]] * 2


def test_a_data_set_without_the_class_is_refused(tiny_data, tmp_path):
    factories.write_picture(tmp_path / "images" / "0.png", factories.picture(20, 30))
    factories.write_picture(tmp_path / "masks" / "0.png", np.zeros((20, 30), np.uint8))
    (tmp_path / "classes.txt").write_text("sky\nsea\n")
    with pytest.raises(DataError, match="it needs masks with the class 'road', or images of classes without it"):
        CombinedDataset(open_dataset(tiny_data), [open_dataset(tmp_path)], label="road")


def test_shares_determine_the_samples_of_an_epoch():
    shares = Shares(np.array([0] * 10 + [1] * 50 + [2] * 3), [None, 0.3, 0.2])
    assert shares.counts == [10, 6, 4]
    drawn = shares.draw(np.random.default_rng(0))
    assert np.bincount(shares.parts[drawn]).tolist() == [10, 6, 4]
    assert set(drawn.tolist()) >= {*range(10), 60, 61, 62}
    assert drawn.tolist() == shares.draw(np.random.default_rng(0)).tolist()
    assert drawn.tolist() != shares.draw(np.random.default_rng(1)).tolist()
    assert Shares(np.array([0] * 4 + [2] * 3), [None, 0.5, None]).counts == [4, 0, 3]


def test_the_share_follows_the_data_set():
    assert split_share("roads/idd.zip=0.3") == ("roads/idd.zip", 0.3)
    assert split_share("scenes:4") == ("scenes:4", None)
    assert split_share("a=b.zip") == ("a=b.zip", None)
    assert split_share("x.csv?label-column=0.5") == ("x.csv?label-column=0.5", None)
    with pytest.raises(ConfigError, match=r"scenes=1\.5: the share of a data set must be above 0 and below 1"):
        split_share("scenes=1.5")
    with pytest.raises(ConfigError, match=r"the shares 0\.5 \+ 0\.6 leave nothing"):
        open_data(TrainOptions("road", "scenes=0.5", extra_data=("no_road=0.6",)))


def test_a_held_out_set_is_only_evaluated(tiny_data, india, tmp_path):
    options = TrainOptions(data=str(tiny_data), extra_data=(str(india), "no_road=0.1"), hold_out_set="india", **SMALL)
    card = train(TrainOptions(**{**_values(options), "samples": 8}), tmp_path / "run", command="")
    splits = [result.split for result in card.measured]
    assert splits == ["val", "india: whole set held out"]
    _, combined = open_data(options)
    assert len(combined.names("train")) == len(open_dataset(tiny_data).names("train")) + 1200
    with pytest.raises(ConfigError, match="unknown data set to hold out 'nowhere'"):
        open_data(TrainOptions(**{**_values(options), "hold_out_set": "nowhere"}))


def _values(options):
    return {name: getattr(options, name) for name in TrainOptions.__dataclass_fields__}


def test_further_data_on_the_command_line(tiny_data, india, tmp_path, capsys):
    arguments = ["train", "road", "--input", "64x64", "--width", "0.35", "--epochs", "1", "--samples", "4"]
    main([*arguments, "--data", str(tiny_data), "--data", f"{india}=0.5", "--out", str(tmp_path / "run")])
    assert "orilla export" in capsys.readouterr().out


def test_training_continues_from_a_trained_network(tmp_path):
    saved = deployable(build(input_hw=(64, 64), width=0.35))
    saved.save(tmp_path / "model.keras")
    model = build(classes=4, input_hw=(64, 64), width=0.35)
    copy_weights(str(tmp_path / "model.keras"), model)
    image = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    first, second = (keras.ops.convert_to_numpy(network(image)) for network in (saved, deployable(model)))
    assert np.allclose(first, second, atol=1e-6)
    options = TrainOptions(data="scenes", weights=str(tmp_path / "model.keras"), **{**SMALL, "width": 0.5}, samples=4)
    with pytest.raises(ConfigError, match=r"cannot use weights=.* with width=0\.5"):
        train(options, tmp_path / "run", command="")


def test_worse_cameras_change_images_but_not_their_size():
    images = np.full((64, 32, 48, 3), 128, np.uint8)
    images[:, 16:] = 60
    changed = degrade(images, np.random.default_rng(0))
    assert changed.shape == images.shape
    assert changed.dtype == np.uint8
    same = [np.array_equal(before, after) for before, after in zip(images, changed, strict=True)]
    assert 0.2 < np.mean(same) < 0.6
    assert changed.reshape(64, -1).mean(axis=1).min() < 60
    assert cv2.imencode(".png", changed[0])[0]
