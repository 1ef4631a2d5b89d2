"""The shipped classifiers are small, and are as accurate as their cards state on data that influenced no setting."""

import json
import subprocess
import sys

import pytest

import orilla.runtime
from orilla.runtime.bundle.bundle import ZOO, Bundle
from orilla.runtime.tasks.registry import task_of
from orilla.runtime.verify import verify

SHIPPED = {
    "convnet": ("cats_and_dogs_filtered.zip", 0.92),
    "mobilenet": ("cats_and_dogs_filtered.zip", 0.985),
    "sentiment": ("imdb.npz", 0.895),
}
"""For each bundle: the file with the data on which it is evaluated, and the minimum accuracy on this data."""


@pytest.fixture(params=SHIPPED)
def name(request):
    return request.param


def test_the_bundle_is_small_states_its_licence_and_verifies(name):
    assert (ZOO / f"{name}.orilla").stat().st_size <= 4 * 2**20
    bundle = Bundle.open(name)
    card = bundle.manifest.card
    assert card.data.licence not in ("", "not stated")
    assert card.measured[0].split in ("val", "test")
    assert card.metrics[task_of(card.task).metric] >= SHIPPED[name][1]
    for verdict in verify(bundle, bundle.manifest.variants):
        assert verdict.passed, verdict


def test_the_bundle_contains_no_image_or_text_of_its_data(name):
    """The golden data are computer-generated scenes, or sentences that were written for this project."""
    bundle = Bundle.open(name)
    own = (ZOO / "sentiment.txt").read_text().splitlines()
    for golden in bundle.manifest.golden:
        if golden.raw.endswith(".txt"):
            assert bundle.read(golden.raw).decode() in own
    if name != "sentiment":
        assert all(golden.raw.endswith(".jpg") for golden in bundle.manifest.golden)


@pytest.mark.real_data
def test_images_of_another_collection_are_classified(data_root):
    """Both images show a cat; they have different sizes."""
    with orilla.runtime.open("mobilenet") as model:
        for image in ("cat_720p.jpg", "resized_cat.bmp"):
            (tick,) = list(model.stream(data_root / "coral_images" / image))
            assert tick.result.top.label == "cats"
            assert tick.result.top.score > 0.9


def test_sentences_are_classified_line_by_line():
    sentences = "A wonderful, touching film with great actors.\nThe worst movie I have ever seen, boring and stupid.\n"
    done = subprocess.run(
        [sys.executable, "-m", "orilla.runtime.cli", "run", "sentiment", "--source", "-"],
        input=sentences,
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [json.loads(line)["result"]["top"]["label"] for line in done.stdout.splitlines()]
    assert answers == ["positive", "negative"]
