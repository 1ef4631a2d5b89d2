"""`orilla train`: its output and its errors."""

import json

import msgspec
import pytest
from helpers import factories
from helpers.factories import SMALL_CONVNET

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.argument_parser import CommandParser
from orilla.runtime.bundle.card import SplitCard
from orilla.runtime.cli import main
from orilla.runtime.terminal.console import ResultConsole
from orilla.train.cli import TrainResult, add_arguments, command_line
from orilla.train.options import TrainOptions
from orilla.train.train import train


def test_the_command_trains_and_prints(animals, tmp_path, capsys):
    out = tmp_path / "run"
    words = ["train", "convnet", "--data", str(animals), "--out", str(out), "--epochs", "1", "--input", "48x48"]
    assert main([*words, "--device", "coral", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["card"]["measured"][0]["split"] == "val"
    assert "coral: dense:" not in printed.err
    assert "epoch 1/1  loss " in printed.err
    words = ["train", "lenet", "--data", str(animals), "--out", str(tmp_path / "b")]
    for options, message in (
        (["--trials", "0", "--search", "random"], "--trials 0: must be 1 or more"),
        (["--trials", "3"], "--trials 3 has no effect without --search"),
        (["--out", str(animals / "run")], "is inside the data set"),
        (
            ["--search", "random", "--weight-decay", "0.1"],
            "--weight-decay 0.1 has no effect, because --search chooses the value",
        ),
    ):
        assert main([*words, *options]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        (
            {"model": "lstm", "augment": True},
            DataError,
            r"lstm cannot be trained on animals \(task classify\): train convnet",
        ),
        ({"input": (100,)}, ConfigError, "convnet takes height and width"),
        ({"input": (20, 20)}, ConfigError, "convnet needs 46x46 or more"),
        (
            {"hold_out": "none", "keep_best": True},
            ConfigError,
            "hold_out=none leaves no samples for choosing the epoch",
        ),
        ({"dropout": 1.0}, ConfigError, "dropout=1.0: must be 0 or more, below 1"),
        ({"width": 0.5}, ConfigError, "width=0.5 has no effect on convnet: leave it out"),
        ({"model": "lstm", "head": "gap"}, ConfigError, "head=gap has no effect on lstm"),
        ({"weights": "imagenet"}, ConfigError, "weights=imagenet has no effect on convnet"),
        ({"model": "mobilenet"}, ConfigError, "mobilenet freezes layers, so it needs weights: use weights=imagenet"),
        ({"model": "lstm", "augment": False}, ConfigError, "augment=False has no effect on lstm"),
        (
            {"model": "mobilenet", "views": 3, "augment": False},
            ConfigError,
            "views=3 has no effect with augment=False",
        ),
        ({"device": "pi9"}, ConfigError, "unknown device 'pi9': did you mean pi4"),
    ],
)
def test_bad_options_write_nothing(animals, tmp_path, options, error, match):
    with pytest.raises(error, match=match):
        train(TrainOptions(**{"data": str(animals), **SMALL_CONVNET, **options}), tmp_path / "run", command="")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_resumed_is_reported(animals, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    words = ["train", "mlp-sigmoid", "--data", str(animals), "--out", str(out), "--epochs", "1", "--resume"]
    assert main(words) == 0
    assert "No checkpoint in" in capsys.readouterr().err
    (tmp_path / "searched" / "search").mkdir(parents=True)
    assert main([*words, "--out", str(tmp_path / "searched")]) == 2
    assert "contains the trials of a search: add --search METHOD" in capsys.readouterr().err
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    assert main([*words, "--out", str(tmp_path / "third")]) == 2
    assert "KERAS_BACKEND=theano: must be one of tensorflow, jax, torch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("epochs=0: must be 1 or more", "--epochs 0: must be 1 or more"),
        ("fix them, or set skip_corrupt=True", "fix them, or set --skip-corrupt"),
        ("augment=False has no effect on lstm: leave it out", "--no-augment has no effect on lstm: leave it out"),
        ("set resume=True and a lower `learning_rate`", "set --resume and a lower --learning-rate"),
        ("hold_out=A,B: give a share of the data", "--hold-out A,B: give a share of the data"),
        ("cannot decode data/hold_out/a.png", "cannot decode data/hold_out/a.png"),
    ],
)
def test_messages_name_flags_instead_of_parameters(message, expected):
    parser = CommandParser()
    add_arguments(parser)
    assert parser.with_flags(message) == expected


def test_a_card_s_command_can_be_typed_again(monkeypatch):
    words = [
        "/usr/bin/orilla",
        "train",
        "lenet",
        "--data",
        "/data/my images/",
        "--extra-data=mnist:../a/b/",
        "--out",
        "r/1",
    ]
    monkeypatch.setattr("sys.argv", words)
    assert command_line() == "orilla train lenet --data 'my images' --extra-data=mnist:b --out 1"


@pytest.mark.parametrize("count", [24, 100])
def test_few_samples_are_a_warning(capsys, count):
    card = factories.card_of("classify", ("cat", "dog"), (32, 48))
    splits = (SplitCard(card.measured[0].split, count, ""),)
    card = msgspec.structs.replace(card, data=msgspec.structs.replace(card.data, splits=splits))
    TrainResult("run", card).render(ResultConsole())
    assert ("warning: 24 samples say little" in capsys.readouterr().out) == (count == 24)
