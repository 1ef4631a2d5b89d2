"""`orilla train`: what it prints, and what it refuses."""

import json

import pytest
from factories import SMALL_CONVNET

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.cli import main
from orilla.train.options import TrainOptions
from orilla.train.train import train


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
        train(TrainOptions(**{"data": str(animals), **SMALL_CONVNET, **options}), tmp_path / "run", command="")
    assert list(tmp_path.iterdir()) == []
