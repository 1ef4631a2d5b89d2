"""Shell completion. Bash runs the script; zsh and fish check it if they are installed."""

import shutil
import subprocess

import pytest

from orilla.runtime.cli import main

pytest.importorskip("shtab")


def script(capsys, shell):
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.fixture
def completed(tmp_path, capsys):
    """Return a function that returns bash's completions after some words."""
    (tmp_path / "completion").write_text(script(capsys, "bash"))
    for name in ("drive.mp4", "robot.orilla", "sample.toml"):
        (tmp_path / name).touch()

    def complete(*words):
        code = 'source completion; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_orilla; echo "${COMPREPLY[@]}"'
        ended = subprocess.run(
            ["bash", "-c", code, "bash", "orilla", *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
            cwd=tmp_path,
        )
        return set(ended.stdout.split())

    return complete


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ru", {"run"}),
        ("run ro", {"road", "robot.orilla"}),
        ("show mobile", {"mobilenet"}),
        ("run road --sourc", {"--source"}),
        ("run road --source dr", {"drive.mp4"}),
        ("run road --source sce", {"scenes"}),
        ("run road --sink js", {"jsonl"}),
        ("run road --engine onnx:open", {"onnx:openvino"}),
        ("train conv", {"convnet"}),
        ("train convnet --schedule c", {"cosine", "constant"}),
        ("train convnet --data camv", {"camvid"}),
        ("devices pi", {"pi3", "pi4", "pi5"}),
        ("bench e", {"estimate"}),
        ("bench estimate road --device pi4", {"pi4"}),
        ("data s", {"show"}),
        ("service show sam", {"sample.toml"}),
        ("export robot.orilla --task seg", {"segment"}),
        ("completion f", {"fish"}),
    ],
)
def test_bash(completed, words, expected):
    assert completed(*words.split()) == expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(shell, capsys, tmp_path):
    text = script(capsys, shell)
    for word in ("mobilenet", "coral-usb", "scenes", "convnet", "--max-drop"):
        assert word.lstrip("-") in text
    if shutil.which(shell):
        (tmp_path / "completion").write_text(text)
        subprocess.run([shell, "-n", str(tmp_path / "completion")], check=True, timeout=30)


def test_an_unknown_shell(capsys):
    assert main(["completion", "bsh"]) == 2
    assert "did you mean bash?" in capsys.readouterr().err
    assert main(["completion"]) == 2
    assert "choose from bash, fish, zsh" in capsys.readouterr().err
