"""Contract tests: every model of `orilla train` can be exported in all applicable precisions, verified and run."""

import keras
import msgspec
import numpy as np
import pytest
from helpers import factories
from helpers.datasets import image_table

from orilla.export.contract import leaves_in_every_precision
from orilla.runtime.bundle.run_folder import Run, encode_json
from orilla.runtime.evaluation.datasets.camvid import CLASSES
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.text import TextPreprocess, encode_vocabulary
from orilla.runtime.tasks.decoding import Decoding
from orilla.train.jobs.plan import NetworkOptions
from orilla.train.models import MODELS, load_plan
from orilla.train.models.detect import head_spec

WORDS = ("film", "plot", "actor", "the", "of", "scene", "music", "dreadful", "lovely")
SIDE, LENGTH = 64, 24
BOXED = ("red", "blue")


def network(model):
    keras.utils.set_random_seed(7)
    plan = load_plan(model)
    if plan.task == "detect":
        built = plan.build(NetworkOptions(len(BOXED), (SIDE, SIDE), width=0.35))
        # Without updated batch-norm statistics, the features are so small that the quantised bias of the scores would
        # overflow int32.
        for _ in range(60):
            built.model(np.random.default_rng(0).uniform(0, 255, (4, SIDE, SIDE, 3)), training=True)
        return built.deployed
    if plan.task == "segment":
        built = plan.build(NetworkOptions(len(CLASSES), (SIDE, SIDE), width=0.35)).deployed
        last = [layer for layer in built.layers if isinstance(layer, keras.layers.Conv2D)][-1]
        # Move the outputs away from 0.5. Masks of values near 0.5 would agree only by chance.
        kernel, bias = last.get_weights()
        last.set_weights([kernel, bias + 2])
        return built
    size = (LENGTH,) if plan.task == "text" else (28, 28) if plan.input == (28, 28) else (SIDE, SIDE)
    return plan.build(NetworkOptions(2, size, 64, head=plan.head)).model


@pytest.fixture
def run(request, tmp_path, tiny_data, animals, reviews):
    """Write a run folder with an untrained network."""
    model = request.param
    built = network(model)
    folder = tmp_path / "run"
    folder.mkdir()
    built.save(folder / "model.keras")
    task = load_plan(model).task
    size = tuple(built.inputs[0].shape[1:2] if task == "text" else built.inputs[0].shape[1:3])
    labels, data = {
        "detect": (BOXED, tmp_path / "boxes"),
        "segment": (("road",) if model == "road" else CLASSES, tiny_data),
        "text": (("bad", "good"), reviews),
        "classify": (("cat", "dog"), animals),
        "regress": (("steering", "speed"), tmp_path / "recording"),
    }[task]
    card = factories.card_of(task, labels, size)
    if task == "regress":
        decoding = Decoding(units=("deg", "m/s"), ranges=((-25.0, 25.0), (0.0, 5.0)), normalised=True)
        card = msgspec.structs.replace(card, decoding=decoding)
        image_table(data)
    if task == "text":
        (folder / "vocabulary.txt").write_bytes(encode_vocabulary(WORDS))
    spec = TextPreprocess(length=LENGTH) if task == "text" else Preprocess(size_hw=size)
    settings = Run(spec, str(data))
    if task == "detect":
        factories.boxed_folder(data, {"train": 12, "val": 4})
        settings = Run(spec, str(data), head=head_spec(size, [0.5, 1.0, 2.0]))
    if model == "segment":
        card = msgspec.structs.replace(card, decoding=Decoding(activation="softmax"))
    (folder / "card.json").write_bytes(encode_json(card))
    (folder / "run.json").write_bytes(encode_json(settings))
    return model, folder


# Models on frozen features are omitted: they need pre-trained weights, and have the same networks as the fine-tuned
# models. VGG19 is omitted because it is VGG16 with more layers.
@pytest.mark.parametrize(
    "run",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ("vgg16", "mobilenet") else [])
        for name in MODELS.built_in
        if name not in ("vgg-features", "vgg16-features", "vgg")
    ],
    indirect=True,
)
def test_it_leaves_in_every_precision_verifies_and_runs(run, tmp_path):
    model, folder = run
    sample = "a lovely film" if load_plan(model).task == "text" else np.full((90, 120, 3), 100, np.uint8)
    leaves_in_every_precision(folder, tmp_path / "b.orilla", sample)
