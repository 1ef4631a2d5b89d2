"""Classifiers of pictures and texts: learn, resume over stages, choose on samples held out, say what they did."""

import json
import math

import cv2
import factories
import keras
import numpy as np
import pytest

from orilla.devices import rules
from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.cli import main
from orilla.runtime.run_folder import read_run
from orilla.train import classify
from orilla.train import train as trainer
from orilla.train.augment import RandomAffine, RandomMirror, apply
from orilla.train.data import batches
from orilla.train.evaluate import BATCH
from orilla.train.models import MODELS, plan, road
from orilla.train.models.blocks import load_by_name
from orilla.train.options import TrainOptions
from orilla.train.plan import Build
from orilla.train.train import Searched, train

CONVNET = {"model": "convnet", "input": (48, 48), "batch": 8, "epochs": 6, "learning_rate": 3e-3, "augment": False}


def weights(folder):
    return keras.models.load_model(folder / "model.keras", compile=False).get_weights()


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    return factories.class_folders(tmp_path_factory.mktemp("data") / "animals", {"train": 24, "validation": 8})


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    rng = np.random.default_rng(0)
    labels = np.arange(400, dtype=np.uint8) % 10
    images = np.clip(labels[:, None, None] * 25 + rng.normal(0, 8, (400, 28, 28)), 0, 255).astype(np.uint8)
    images[:, :, 14:] //= 2
    path = tmp_path_factory.mktemp("digits") / "mnist.npz"
    np.savez(path, x_train=images[:300], y_train=labels[:300], x_test=images[300:], y_test=labels[300:])
    return path


@pytest.fixture(scope="module")
def trained(animals, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    return out, train(TrainOptions(data=str(animals), **CONVNET), out, command="orilla train convnet")


def test_a_folder_of_pictures_becomes_a_model_with_all_that_tells_of_it(trained):
    folder, card = trained
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.json",
        "confusion.png",
        "curves.png",
        "history.csv",
        "index.html",
        "model.keras",
        "run.json",
        "samples.png",
    ]
    assert card.metrics["accuracy"] > 0.9
    low, high = card.measured[0].intervals["accuracy"]
    assert low <= card.metrics["accuracy"] <= high
    assert card.labels == ("cat", "dog")
    assert [(one.name, one.count) for one in card.data.splits] == [("train", 48), ("val", 16)]
    assert np.array(card.measured[0].confusion).sum() == 16
    assert read_run(folder)[0] == card
    for name in ("confusion", "curves", "samples"):
        assert cv2.imread(str(folder / f"{name}.png")).shape[0] > 200
    page = (folder / "index.html").read_text()
    assert "roc_auc" in page
    assert page.count("data:image/png") == 3


def test_texts_become_a_model_with_its_vocabulary(tmp_path):
    table = factories.text_table(tmp_path / "reviews.csv", 240)
    options = TrainOptions(
        model="lstm", data=str(table), input=(20,), epochs=12, batch=8, learning_rate=2e-2, dropout=0.0, hold_out="none"
    )
    card = train(options, tmp_path / "run", command="")
    assert card.metrics["accuracy"] > 0.9
    vocabulary = (tmp_path / "run" / "vocabulary.txt").read_text().splitlines()
    assert {"dreadful", "lovely", "film"} <= set(vocabulary)


def test_the_best_epoch_is_chosen_on_samples_held_out(animals, tmp_path):
    options = TrainOptions(data=str(animals), **{**CONVNET, "epochs": 30}, best=True, patience=3, hold_out="0.3")
    card = train(options, tmp_path / "run", command="")
    assert [one.name for one in card.data.splits] == ["train", "choose", "val"]
    assert card.best_epoch <= card.epochs <= card.best_epoch + 3 < 30
    chosen = next(one for one in card.measured if one.split == "choose")
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()
    place = rows[0].split(",").index("choose_accuracy")
    best = max(float(row.split(",")[place]) for row in rows[1:])
    assert chosen.metrics["accuracy"] == pytest.approx(best)


def test_between_epochs_pictures_are_measured_a_batch_at_a_time(tmp_path, monkeypatch):
    """In large batches their activations would be the greater part of the memory that a training takes."""
    data = factories.class_folders(tmp_path / "data", {"train": 4, "validation": 40})
    asked, real = [], classify.predict
    monkeypatch.setattr(classify, "predict", lambda model, inputs: asked.append(len(inputs)) or real(model, inputs))
    train(TrainOptions(model="mlp-relu", data=str(data), epochs=1, batch=8), tmp_path / "run", command="")
    assert max(asked) == BATCH
    assert sum(asked) == 80


@pytest.fixture(scope="module")
def mobilenet_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "base.weights.h5"
    keras.applications.MobileNetV2(input_shape=(32, 32, 3), include_top=False, weights=None).save_weights(path)
    return str(path)


def test_two_stages_with_frozen_features_resume_to_the_same_model(animals, mobilenet_weights, tmp_path, monkeypatch):
    import orilla.train.fit as fitting

    monkeypatch.setenv("ORILLA_CACHE", str(tmp_path / "cache"))
    small = {"model": "mobilenet", "input": (32, 32), "batch": 8, "epochs": 2, "views": 2, "data": str(animals)}
    small["weights"] = mobilenet_weights
    whole = train(TrainOptions(**small), tmp_path / "whole", command="")
    assert whole.epochs == 12
    for killed_at in (3, 11):
        out = tmp_path / f"killed{killed_at}"
        save, saved = fitting.save, []

        def save_then_die(*arguments, save=save, saved=saved, killed_at=killed_at):
            save(*arguments)
            saved.append(1)
            if len(saved) == killed_at:
                raise KeyboardInterrupt

        monkeypatch.setattr(fitting, "save", save_then_die)
        with pytest.raises(KeyboardInterrupt):
            train(TrainOptions(**small), out, command="")
        monkeypatch.setattr(fitting, "save", save)
        train(TrainOptions(**small, resume=True), out, command="")
        for one, other in zip(weights(tmp_path / "whole"), weights(out), strict=True):
            assert np.array_equal(one, other)


def test_features_of_frozen_layers_are_what_the_whole_network_computes(
    animals, mobilenet_weights, tmp_path, monkeypatch
):
    monkeypatch.setenv("ORILLA_CACHE", str(tmp_path / "cache"))
    named = {"model": "mobilenet", "weights": mobilenet_weights, "input": (32, 32), "augment": False}
    options = TrainOptions(data=str(animals), epochs=1, batch=8, **named)
    _, dataset = trainer.open_data(options)
    splits = trainer.split(dataset)
    job = trainer.make_job(options, dataset, splits)
    stage = job.stages[0]()
    inputs, _ = stage.data.epoch(0, workers=1)[0]
    order = np.random.default_rng([0, 0]).permutation(48)[:8]
    prepared = np.stack([job.prepare(dataset.load(*splits.train[index])) for index in order]).astype(np.float32)
    assert np.allclose(stage.model.predict_on_batch(inputs), job.network.predict_on_batch(prepared), atol=2e-3)
    frozen = [layer.name for layer in job.network.layers if layer not in stage.model.layers]
    assert "Conv1" in frozen
    assert "probabilities" not in frozen


@pytest.mark.parametrize("model", [name for name in MODELS if name not in ("road", "vgg-features", "vgg16-features")])
def test_every_model_takes_raw_input_and_gives_probabilities(model):
    chosen = plan(model)
    size = tuple(max(least, 32) for least in chosen.minimum) if chosen.minimum else chosen.input
    network = chosen.build(Build(2, size, chosen.vocabulary, head=chosen.head)).model
    rng = np.random.default_rng(0)
    if chosen.task == "text":
        given = rng.integers(0, chosen.vocabulary, (3, *size)).astype(np.int32)
    else:
        given = rng.uniform(0, 255, (3, *size, 3)).astype(np.float32)
        assert "normalise" in {layer.name for layer in network.layers}
    output = keras.ops.convert_to_numpy(network(given))
    assert output.shape in ((3, 1), (3, 2))
    assert ((output >= 0) & (output <= 1)).all()
    if output.shape[1] == 2:
        assert np.allclose(output.sum(axis=1), 1, atol=1e-5)
    assert not [layer for layer in network.layers if type(layer).__name__.startswith("Random")]


def test_a_partial_weights_file_says_what_it_covers(tmp_path):
    import h5py

    base = keras.applications.VGG19(include_top=False, weights=None, input_shape=(32, 32, 3))
    covered = [layer for layer in base.layers if layer.name.startswith(("block1_conv", "block2_conv"))]
    with h5py.File(tmp_path / "partial.h5", "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in covered]
        for layer in covered:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [b"kernel:0", b"bias:0"]
            for name, array in zip(("kernel:0", "bias:0"), layer.get_weights(), strict=True):
                group[name] = array
    build = Build(2, (32, 32), weights=str(tmp_path / "partial.h5"))
    found = plan("vgg").build(build)
    assert found.started == "partial.h5 (block1_conv1 to block2_conv2, 4 of 16 layers)"
    *exact, last = [(found.model.get_layer(layer.name).get_weights()[0], layer.get_weights()[0]) for layer in covered]
    assert all(np.array_equal(*pair) for pair in exact)
    ratio = last[0] / last[1]  # made quieter for the layers that begin behind it
    assert ratio == pytest.approx(ratio.mean(), rel=1e-4)
    answered = keras.Model(found.model.input, found.model.get_layer("block2_conv2").output).predict_on_batch(
        np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    )
    assert 0.8 < np.sqrt(np.mean(answered**2)) < 1.25
    assert plan("vgg-features").build(build).started.endswith("features at block2_pool")
    assert plan("vgg16").build(build).started == "partial.h5 (block1_conv1 to block2_conv2, 4 of 13 layers)"
    with pytest.raises(ConfigError, match="holds none of the layers"):
        load_by_name(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), str(tmp_path / "partial.h5"))
    (tmp_path / "text.h5").write_text("no weights")
    with pytest.raises(ConfigError, match=r"cannot use --weights text\.h5"):
        plan("vgg").build(Build(2, (32, 32), weights=str(tmp_path / "text.h5")))
    with pytest.raises(ConfigError, match="vgg-features needs pre-trained weights"):
        plan("vgg-features").build(Build(2, (32, 32)))


def test_half_precision_leaves_a_model_of_the_edge_s_own(animals, tmp_path):
    options = TrainOptions(data=str(animals), **CONVNET, precision="bfloat16", tensorboard=True)
    card = train(options, tmp_path / "run", command="")
    assert card.precision == "bfloat16"
    assert list((tmp_path / "run" / "tensorboard").rglob("events*"))
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_out_of_memory_says_which_batch_fits(animals, tmp_path, monkeypatch):
    class ResourceExhaustedError(Exception):
        pass

    step = keras.Model.train_on_batch

    def fit(self, *arguments, **named):
        raise ResourceExhaustedError("failed to allocate memory")

    def train_on_batch(self, inputs, truths):
        if len(inputs) > 2:
            raise ResourceExhaustedError("failed to allocate memory")
        return step(self, inputs, truths)

    monkeypatch.setattr(keras.Model, "fit", fit)
    monkeypatch.setattr(keras.Model, "train_on_batch", train_on_batch)
    with pytest.raises(ConfigError, match="out of memory with --batch 8: --batch 2 fits"):
        train(TrainOptions(data=str(animals), **CONVNET), tmp_path / "run", command="")


def test_a_loss_that_becomes_no_number_keeps_the_last_good_epoch(animals, tmp_path, monkeypatch):
    given = batches._Epoch.make

    def spoilt(self, index):
        inputs, labels = given(self, index)
        return inputs, labels * math.nan if (self._number, index) == (1, 3) else labels.astype(float)

    monkeypatch.setattr(batches._Epoch, "make", spoilt)
    with pytest.raises(
        DataError, match=r"loss is nan in epoch 2, batch 4: go on from epoch 1 with --resume and a lower"
    ):
        train(TrainOptions(data=str(animals), **CONVNET), tmp_path / "run", command="")
    assert (tmp_path / "run" / "checkpoint.npz").exists()
    monkeypatch.undo()
    again = {**CONVNET, "resume": True}
    with pytest.raises(ConfigError, match=r"it was started with epochs 6, not 7; seed 0, not 1$"):
        train(TrainOptions(data=str(animals), **{**again, "epochs": 7, "seed": 1}), tmp_path / "run", command="")
    card = train(TrainOptions(data=str(animals), **{**again, "learning_rate": 1e-3}), tmp_path / "run", command="")
    assert (card.epochs, card.learning_rate) == (6, 1e-3)
    assert (tmp_path / "run" / "model.keras").exists()


def test_a_lower_rate_after_an_interruption_is_the_one_that_is_learnt_with(animals, tmp_path, monkeypatch):
    import orilla.train.fit as fitting

    real, rates = fitting._one_epoch, []

    def watched(model, batches, epoch, callbacks):
        rates.append(float(model.optimizer.learning_rate))
        if len(rates) == 2:
            raise KeyboardInterrupt
        return real(model, batches, epoch, callbacks)

    monkeypatch.setattr(fitting, "_one_epoch", watched)
    options = {**CONVNET, "data": str(animals), "epochs": 3, "schedule": "constant"}
    with pytest.raises(KeyboardInterrupt):
        train(TrainOptions(**options), tmp_path / "run", command="")
    train(TrainOptions(**{**options, "learning_rate": 1e-4, "resume": True}), tmp_path / "run", command="")
    assert rates == pytest.approx([3e-3, 3e-3, 1e-4, 1e-4])


def test_a_class_may_be_called_as_a_formula_begins(tmp_path):
    data = factories.class_folders(tmp_path / "money", {"train": 4, "val": 4}, classes=("$1", "$5_^"))
    train(TrainOptions(model="mlp-sigmoid", data=str(data), epochs=1, batch=8), tmp_path / "run", command="")
    assert (tmp_path / "run" / "model.keras").exists()


def test_weights_that_cannot_be_downloaded_are_told_in_a_line(animals, tmp_path, monkeypatch):
    def gone(*given, **named):
        raise Exception("URL fetch failure on https://example.org: None -- [Errno -2]")

    for name in ("MobileNetV2", "VGG19"):
        monkeypatch.setattr(keras.applications, name, gone)
    for model in ("mobilenet", "road"):
        build = plan(model).build if model != "road" else None
        with pytest.raises(ConfigError, match="cannot download ImageNet weights: give --weights FILE"):
            build(Build(2, (32, 32), weights="imagenet")) if build else road.build(weights="imagenet")


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"model": "lstm", "augment": True}, DataError, r"lstm is not for animals \(task classify\): train convnet"),
        ({"input": (100,)}, ConfigError, "convnet takes height and width"),
        ({"input": (20, 20)}, ConfigError, "convnet needs 46x46 or more"),
        ({"hold_out": "none", "best": True}, ConfigError, "needs samples held out"),
        ({"dropout": 1.0}, ConfigError, "dropout 1.0"),
        ({"width": 0.5}, ConfigError, "--width has no effect on convnet: leave it out"),
        ({"model": "lstm", "head": "gap"}, ConfigError, "--head has no effect on lstm"),
        ({"weights": "imagenet"}, ConfigError, "--weights has no effect on convnet"),
        ({"model": "mobilenet"}, ConfigError, "mobilenet freezes layers, so it needs --weights"),
        ({"model": "lstm", "augment": False}, ConfigError, "--no-augment has no effect on lstm"),
        (
            {"model": "mobilenet", "views": 3, "augment": False},
            ConfigError,
            "--views 3 has no effect with --no-augment",
        ),
        ({"device": "pi9"}, ConfigError, "unknown device 'pi9': did you mean pi4"),
    ],
)
def test_bad_options_write_nothing(animals, tmp_path, options, error, match):
    with pytest.raises(error, match=match):
        train(TrainOptions(**{"data": str(animals), **CONVNET, **options}), tmp_path / "run", command="")
    assert list(tmp_path.iterdir()) == []


def test_a_device_s_rules_name_the_layer_and_what_would_do_better():
    image = keras.Input((64, 64, 3))
    x = keras.layers.Conv2D(8, 3, name="first")(image)
    x = keras.layers.LeakyReLU(name="leaky")(x)
    x = keras.layers.UpSampling2D(name="larger")(x)
    x = keras.layers.Flatten()(x)
    network = keras.Model(image, keras.layers.Dense(200, activation="gelu", name="dense")(x))
    coral = [str(advice) for advice in rules.check(network, "coral")]
    assert any(line.startswith("leaky: LeakyReLU is not mapped; take ReLU") for line in coral)
    assert any(line.startswith("larger: ") and "Concatenate and Reshape" in line for line in coral)
    assert any("GlobalAveragePooling2D for Flatten" in line for line in coral)
    assert any("activation gelu" in line for line in coral)
    assert any("MiB of int8 weights" in line for line in coral)
    assert not rules.check(plan("mobilenet").build(Build(2, (96, 96))).model, "coral")
    slow = keras.Model(
        image, keras.layers.Conv2D(512, 3, padding="same", name="wide")(keras.layers.Conv2D(256, 1)(image))
    )
    assert any(str(advice).startswith("wide: a full convolution over 256") for advice in rules.check(slow, "pi4"))
    assert any("G multiplications" in str(advice) for advice in rules.check(slow, "pi4"))


def test_multiplications_are_counted_as_papers_count_them():
    network = keras.applications.MobileNetV2(weights=None)
    assert rules.multiplications(network) == pytest.approx(300e6, rel=0.02)


@pytest.mark.parametrize("method", ["random", "hyperband"])
def test_a_search_goes_on_after_an_interruption_and_tells_how_it_found(digits, tmp_path, monkeypatch, method):
    options = TrainOptions(model="mlp-relu", data=str(digits), epochs=3, hold_out="0.2", drop_leaks=True)
    run, count = trainer.run_job, []

    def counted(*arguments, **named):
        count.append(1)
        if len(count) == 3:
            raise KeyboardInterrupt
        return run(*arguments, **named)

    monkeypatch.setattr(trainer, "run_job", counted)
    with pytest.raises(KeyboardInterrupt):
        train(options, tmp_path / "run", command="", searched=Searched(method, 4))
    monkeypatch.setattr(trainer, "run_job", run)
    card = train(options, tmp_path / "run", command="", searched=Searched(method, 4))
    assert card.search["method"] == method
    assert 3 <= card.search["trials"] <= 6
    assert card.learning_rate == card.search["learning_rate"]
    assert 0 <= card.search["score"] <= 1


def test_affine_changes_are_seeded_and_keep_the_middle():
    images = np.zeros((8, 33, 33, 3), np.float32)
    images[:, 14:19, 14:19] = 255
    layer = RandomAffine(shift=0.0)
    one, again, other = (apply(layer, images, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert (one[:, 16, 16, 0] > 250).all()
    still = RandomAffine(rotation=0, shift=0, shear=0, zoom=0, mirror=False)
    assert np.allclose(apply(still, images, 3), images, atol=1e-3)


def test_a_mirrored_picture_has_its_mask_mirrored():
    rng = np.random.default_rng(0)
    truths = rng.integers(0, 2, (16, 8, 12, 1)).astype(np.float32)
    images = np.repeat(truths, 3, axis=3)
    flipped, of_flipped = (keras.ops.convert_to_numpy(one) for one in RandomMirror()((images, truths), seed=1))
    assert np.array_equal(flipped[..., :1], of_flipped)
    changed = (of_flipped != truths).any(axis=(1, 2, 3))
    assert 0 < changed.sum() < 16


def test_the_command_trains_and_tells(animals, tmp_path, capsys):
    out = tmp_path / "run"
    words = ["train", "convnet", "--data", str(animals), "--out", str(out), "--epochs", "1", "--input", "48x48"]
    assert main([*words, "--device", "coral", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["card"]["measured"][0]["split"] == "val"
    assert "coral: dense:" not in printed.err
    again = ["train", "lenet", "--data", str(animals), "--out", str(tmp_path / "b")]
    for more, told in (
        (["--trials", "0", "--search", "random"], "--trials 0: must be 1 or more"),
        (["--trials", "3"], "--trials 3 has no effect without --search"),
        (["--search", "random", "--weight-decay", "0.1"], "--search finds the weight decay: leave --weight-decay out"),
    ):
        assert main([*again, *more]) == 2
        assert told in capsys.readouterr().err


def test_a_search_of_which_no_trial_comes_to_an_end_says_why(digits, tmp_path, monkeypatch):
    def failing(*arguments, **named):
        raise DataError("loss is nan in epoch 1")

    monkeypatch.setattr(trainer, "run_job", failing)
    options = TrainOptions(model="mlp-relu", data=str(digits), epochs=3, hold_out="0.2", drop_leaks=True)
    with pytest.raises(DataError, match=r"no trial of the search came to an end: .*loss is nan in epoch 1"):
        train(options, tmp_path / "run", command="", searched=Searched("random", 2))


def test_an_interrupt_says_how_to_go_on(animals, tmp_path, monkeypatch, capsys):
    import orilla.train.fit as fitting

    real = fitting.save

    def save_then_stop(*given):
        real(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "save", save_then_stop)
    words = ["train", "mlp-sigmoid", "--data", str(animals), "--out", str(tmp_path / "run"), "--epochs", "2"]
    assert main(words) == 130
    assert "--resume goes on from there" in capsys.readouterr().err


@pytest.mark.parametrize("options", [{"precision": "float16"}, {"best": True, "patience": 1, "epochs": 8}])
def test_a_training_killed_after_any_epoch_ends_as_if_it_had_not_been(animals, tmp_path, monkeypatch, options):
    import orilla.train.fit as fitting

    named = {**CONVNET, "data": str(animals), **options}
    whole = train(TrainOptions(**named), tmp_path / "whole", command="")
    save = fitting.save
    for killed_at in (1, whole.epochs):
        count = []

        def save_then_die(*arguments, count=count, killed_at=killed_at):
            save(*arguments)
            count.append(1)
            if len(count) == killed_at:
                raise KeyboardInterrupt

        out = tmp_path / f"killed{killed_at}"
        monkeypatch.setattr(fitting, "save", save_then_die)
        with pytest.raises(KeyboardInterrupt):
            train(TrainOptions(**named), out, command="")
        monkeypatch.setattr(fitting, "save", save)
        again = train(TrainOptions(**named, resume=True), out, command="")
        assert (again.epochs, again.best_epoch) == (whole.epochs, whole.best_epoch)
        for one, other in zip(weights(tmp_path / "whole"), weights(out), strict=True):
            assert np.array_equal(one, other)


def test_a_picture_that_goes_while_training_is_named(animals, tmp_path):
    import shutil

    folder = shutil.copytree(animals, tmp_path / "animals")
    seen = []

    def spoil(self, index, make=batches._Epoch.make):
        seen.append(index)
        if len(seen) == 2:
            raise DataError("cannot decode cat/cat003.png: not a picture, or damaged")
        return make(self, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches._Epoch, "make", spoil)
        with pytest.raises(DataError, match=r"cannot decode cat/cat003\.png"):
            train(TrainOptions(data=str(folder), **CONVNET), tmp_path / "run", command="")
