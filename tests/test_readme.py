"""The documentation is correct: its Python code runs, its links lead to existing files, and its commands exist."""

import re
import shlex
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import msgspec
import numpy as np
import pytest
from helpers import factories
from helpers.detectors import detector_bundle

import orilla.runtime
from orilla.devices import toml
from orilla.devices.budget import LIMITS, budget_of, read_budgets
from orilla.export.recipe import Recipe
from orilla.runtime.cli import COMMANDS, main
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.sources.source import Source

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_camera_loop_in_ten_lines(tmp_path, capsys):
    code, _ = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(code.strip().splitlines()) <= 10
    clip = factories.video(tmp_path / "clip.avi", 5, (240, 320))
    code = code.replace("age_ms > 100", "age_ms > 60_000")  # A busy machine may need more than 0.1 s.
    exec(compile(code.replace("model.stream(0)", f"model.stream({str(clip)!r})"), "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_the_examples_of_budgets_are_right(tmp_path):
    """The examples use existing keys and devices, and the pytest plugin accepts their marks."""
    text = (ROOT / "docs" / "ci.md").read_text()
    (table,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "budgets.toml").write_text(table)
    assert [budget.device for budget in read_budgets(tmp_path / "budgets.toml")] == [None, "pi4"]
    for name in LIMITS:
        assert f"`{name}`" in text, name
    _, readme = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for code in (readme, *re.findall(r"```python\n(.*?)```", text, re.DOTALL)):
        space = {"pytest": pytest}
        exec(compile(code, "ci.md", "exec"), space)
        marks = [mark for test in space.values() for mark in getattr(test, "pytestmark", ())]
        assert marks
        for mark in marks:
            budget_of({key: value for key, value in mark.kwargs.items() if key not in ("data", "seconds")})


def test_every_example_of_the_camera_loop_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip, picture = factories.video(tmp_path / "clip.avi", 5, (240, 320)), tmp_path / "picture.png"
    factories.write_picture(picture, factories.picture(240, 320))
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "camera-loop.md").read_text(), re.DOTALL)
    assert len(examples) == 13
    detector = detector_bundle(tmp_path / "colors.orilla")
    names = {
        "SOURCE": str(clip),
        "FRONT": str(clip),
        "REAR": str(clip),
        "IMAGE": str(picture),
        "DETECTOR": str(detector),
    }
    for example in examples:
        exec(compile(example, "camera-loop.md", "exec"), dict(names))
    assert capsys.readouterr().out


def test_the_examples_for_new_users_run(tmp_path, capsys):
    clip = str(factories.video(tmp_path / "clip.avi", 3, (240, 320)))
    names = {"SOURCE": clip, "DETECTOR": str(detector_bundle(tmp_path / "colors.orilla"))}
    pages = [(ROOT / "docs" / name).read_text() for name in ("coming-from.md", "first-hour.md")]
    examples = [code for page in pages for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL)]
    assert len(examples) == 4
    for example in examples:
        code = example.replace('"mine.orilla"', '"mobilenet"').replace("stream(0)", "stream(SOURCE)")
        exec(compile(code, "coming-from.md", "exec"), dict(names))
        assert capsys.readouterr().out or "DETECTOR" in example  # The clip contains no objects.


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def commands(page):
    """Return the commands of `orilla` in the blocks of a page, without comments, pipes and continuations."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            if not language and line.startswith("orilla "):
                words = shlex.split(line, comments=True)
                ends = [place for place, word in enumerate(words) if word in ("|", ">", "&&", "...", "2>&1")]
                yield tuple(words[1 : ends[0]] if ends else words[1:]), bool(ends)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_accepted(page, monkeypatch):
    """The options of every documented command exist, and their values are valid."""
    for words, cut in sorted(set(commands(page))):
        if words[0] in ("--schema", "completion"):
            assert main(list(words)) == 0
            continue
        assert words[0] in COMMANDS, words
        if cut or any(word.endswith(".toml") for word in words):  # The file, or required options, may be missing.
            continue
        accept(words, monkeypatch)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_of_the_help_is_accepted(name, monkeypatch):
    for example in COMMANDS[name].examples:
        accept(shlex.split(example)[1:], monkeypatch)


def accept(words, monkeypatch):
    """Parse the arguments of a command without executing it."""
    accepted = []
    module = import_module(COMMANDS[words[0]].module)
    with monkeypatch.context() as patch:
        patch.setattr(module, "execute", lambda arguments: accepted.append(arguments) or DONE)
        assert main(list(words)) == 0, " ".join(words)
    assert accepted, " ".join(words)


@dataclass
class Done(CommandResult):
    """The result of a command that did nothing."""

    def render(self, console):
        """Print nothing."""


DONE = Done()


def test_every_page_stands_without_placeholders():
    for page in PAGES:
        assert not re.search(r"\b(TODO|FIGURES|RESULTS|XXX)\b", page.read_text()), page


def test_the_results_are_what_the_cards_say():
    script = ROOT / "docs" / "results" / "table.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("example", sorted((ROOT / "docs" / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_every_example_runs(example, tmp_path):
    image = factories.write_picture(tmp_path / "image.png", factories.picture(240, 320))
    words = {"single_image": [str(image)], "rover": ["--seconds", "2", "--out", str(tmp_path)]}.get(example.stem, [])
    done = subprocess.run([sys.executable, str(example), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_glossary_names_what_the_code_has():
    """Every name in the last column of the glossary occurs in the code."""
    rows = re.findall(r"^\| [^|]+ \| [^|]+ \| (.+) \|$", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)[2:]
    assert len(rows) > 40
    files = [file for part in ("devices", "runtime", "export", "train", "docs") for file in (ROOT / part).rglob("*.py")]
    code = "\n".join(file.read_text() for file in files) + "\n".join(file.name for file in files)
    for name in re.findall(r"`(.+?)`", " ".join(rows)):
        assert re.search(rf"\b{re.escape(name)}\b", code), name


def contributed(name):
    """Run the Python example of CONTRIBUTING.md that defines a class. Return the names that it defines."""
    text = (ROOT / "docs" / "CONTRIBUTING.md").read_text()
    blocks = [
        textwrap.dedent(block) for block in re.findall(r"^ +```python\n(.*?)^ +```", text, re.DOTALL | re.MULTILINE)
    ]
    (code,) = [block for block in blocks if f"class {name}" in block]
    space = {}
    exec(compile(code, "CONTRIBUTING.md", "exec"), space)
    return space


def test_the_source_of_the_contributors_page_works(tmp_path):
    for index in range(2):
        np.save(tmp_path / f"{index}.npy", np.full((4, 6, 3), index, np.uint8))
    np.save(tmp_path / "2.npy", np.zeros(3))
    source = contributed("NpyFolder")["open_source"](f"npy:{tmp_path}")
    assert isinstance(source, Source)
    assert [source.read().image.max() for _ in range(2)] == [0, 1]
    assert source.read().kind == "corrupt"
    assert source.read() is None
    source.close()


def test_the_sink_of_the_contributors_page_works(tmp_path):
    path = tmp_path / "ages.txt"
    module = contributed("Ages")
    sink = module["open_sink"](str(path), module["Options"](decimals=3), Setup(25.0))
    with orilla.runtime.open("road") as model:
        assert sink.write(model(factories.picture())) is True
    sink.close()
    assert re.fullmatch(r"0 \d+\.\d{3}\n", path.read_text())


def test_the_recipe_of_the_contributors_page_is_one():
    text = (ROOT / "docs" / "CONTRIBUTING.md").read_text()
    (table,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (row,) = toml.loads(table).values()
    assert msgspec.convert(row, Recipe).format == "tflite"
