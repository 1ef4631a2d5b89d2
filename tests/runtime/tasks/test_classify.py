"""Classification of images, from the network's output to the sinks."""

import json

import cv2
import numpy as np
import pytest
from helpers import factories

import orilla.runtime
from orilla.devices.errors import BundleError, ConfigError, DataError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.cli import main
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.tasks.classify import TASK
from orilla.runtime.tasks.task import DecodeContext
from orilla.runtime.verify import verify


def decode(output, labels):
    return TASK.decode({"scores": output}, DecodeContext(labels))


def test_scores_become_classes_the_most_likely_first():
    result = decode(np.array([0.2, 0.5, 0.3], np.float32), ("a", "b", "c"))
    assert (result.top.label, result.top.score) == ("b", 0.5)
    assert [top.label for top in result.top_k(2)] == ["b", "c"]
    assert len(result.top_k(9)) == 3
    assert result.to_dict()["top"] == {"label": "b", "score": 0.5}
    with pytest.raises(ConfigError, match="must be 1 or more"):
        result.top_k(0)
    with pytest.raises(BundleError, match="there are 2 labels"):
        decode(np.zeros(3, np.float32), ("a", "b"))


def test_one_probability_is_the_second_class_s():
    result = decode(np.array([0.75], np.float32), ("no", "yes"))
    assert [(top.label, top.score) for top in result.top_k(2)] == [("yes", 0.75), ("no", 0.25)]


def test_a_folder_of_pictures_is_answered(picture_bundle, animals, tmp_path, capsys):
    folder = animals / "validation" / "dog"
    with orilla.runtime.open(picture_bundle) as model:
        ticks = list(model.stream(folder))
        assert [tick.result.top.label for tick in ticks] == ["dog"] * 8
        assert ticks[0].frame.name == "dog000.png"
        with pytest.raises(DataError, match="cannot read a dog: No such file"):
            model("a dog")
    assert main(["run", str(picture_bundle), "--source", str(folder)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["result"]["top"]["label"] == "dog"
    assert [top["label"] for top in lines[0]["result"]["top_k"]] == ["dog", "cat"]


def test_the_answer_is_drawn_into_a_video(picture_bundle, tmp_path):
    clip = factories.video(tmp_path / "clip.avi")
    out = tmp_path / "out.mp4"
    assert main(["run", str(picture_bundle), "--source", str(clip), "--sink", f"video:{out}"]) == 0
    assert cv2.VideoCapture(str(out)).read()[1].shape == (48, 64, 3)


def test_a_classifier_s_bundle_verifies_itself_and_measures_accuracy(picture_bundle, animals):
    bundle = Bundle.open(picture_bundle)
    assert {variant.check.metrics["accuracy"] for variant in bundle.manifest.variants} == {1.0}
    for verdict in verify(bundle, bundle.manifest.variants, open_dataset(animals)):
        assert verdict.passed
        assert verdict.metrics["accuracy"] == 1.0


def test_data_of_other_classes_is_refused(picture_bundle, tmp_path, capsys):
    folder = factories.class_folders(tmp_path / "other", {"validation": 2}, classes=("cat", "cow"))
    assert main(["verify", str(picture_bundle), "--data", str(folder)]) == 2
    assert "unknown class of the model 'cow'" in capsys.readouterr().err
