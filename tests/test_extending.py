"""Plug-ins of every kind in a package outside the project work, and so does the example in docs/extending.md."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import factories
from helpers.command import orilla
from helpers.plugins import count_bundle, write_package

from orilla.devices import plugins, toml
from orilla.devices.errors import ConfigError
from orilla.runtime.cli import main
from orilla.runtime.commands.doctor import PLUGINS
from orilla.runtime.tasks.registry import task_of

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "docs" / "examples" / "orilla_count"
FILES = [*sorted(EXAMPLE.glob("*.toml")), *sorted(EXAMPLE.glob("*/*.py"))]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Return a function that installs a package in a folder on `sys.path`."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    loaded = set(sys.modules)

    def install(name, entry_points, files=None):
        plugins.installed_plugins.cache_clear()
        return write_package(folder, name, entry_points, files)

    yield install
    plugins.installed_plugins.cache_clear()
    task_of.cache_clear()
    for module in set(sys.modules) - loaded:
        if Path(getattr(sys.modules[module], "__file__", None) or "/").is_relative_to(folder):
            del sys.modules[module]


def install_example(site, **changes):
    """Install the example package. `changes` maps the names of modules to their new content."""
    project = toml.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    files = {f"orilla_count/{path.name}": path.read_text() for path in (EXAMPLE / "orilla_count").glob("*.py")}
    files |= {f"orilla_count/{name}.py": text for name, text in changes.items()}
    return site("orilla-count", project["entry-points"], files)


def environment(folder):
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(folder)]))}


# For each group, the file of a plug-in and the code that uses it. One file and one entry point add a name. A built-in
# name has the same file, but a row in a table instead of the entry point.
KINDS = {
    "orilla.tasks": (
        """
from orilla.runtime.tasks.tensor import TensorTask

class Noop(TensorTask):
    name = "extra"

ROW = Noop()
""",
        "from orilla.runtime.tasks.registry import task_of; used = task_of('extra').name == 'extra'",
    ),
    "orilla.engines": (
        """
from orilla.runtime.engines.registry import Engine
from orilla.runtime.engines.litert import load

ROW = Engine("extra_module", "tflite", ("ai_edge_litert",), "pip install ai-edge-litert")
""",
        "import orilla.runtime; used = orilla.runtime.open('probe', engine='extra').engine == 'extra'",
    ),
    "orilla.sources": (
        """
from orilla.runtime.sources.registry import SourceKind, is_named

ROW = SourceKind("extra:NUMBER", is_named("extra"), "extra_module")

class Empty:
    live, rate_hz = False, None
    def read(self): return None
    def close(self): ...

def open_source(spec):
    return Empty()
""",
        "from orilla.runtime.sources.registry import open_source; used = open_source('extra:1').read() is None",
    ),
    "orilla.sinks": (
        """
from orilla.runtime.sinks.options import NoOptions
from orilla.runtime.sinks.registry import SinkKind
from orilla.runtime.sinks.sink import Sink

ROW = SinkKind("extra", "extra_module")
NEEDS_TARGET = False
Options = NoOptions

class Null(Sink):
    def write(self, tick): return True
    def close(self): ...

def open_sink(target, options, setup):
    return Null()
""",
        "from orilla.runtime.sinks.registry import sink_opener; from orilla.runtime.sinks.sink import Setup; "
        "used = sink_opener('extra').open(Setup()).write(None)",
    ),
    "orilla.importers": (
        """
from orilla.export.imports.registry import Importer

ROW = Importer((".extra",), "extra_module:describe", "extra_module:copy", {}, ("json",))
""",
        "from orilla.export.imports.registry import IMPORTERS, importer_for\nfrom pathlib import Path\n"
        "IMPORTERS.find('extra'); used = importer_for(Path('model.extra')) == 'extra'",
    ),
    "orilla.datasets": (
        """
from orilla.runtime.evaluation.datasets import open_dataset as open_other
from orilla.runtime.evaluation.datasets.registry import ReaderRow

ROW = ReaderRow("a copy of scenes; extra:SEED", "extra_module")

def open_dataset(argument):
    return open_other(f"scenes:{argument}")
""",
        "from orilla.runtime.evaluation.datasets import open_dataset; used = open_dataset('extra:3').task == 'segment'",
    ),
    "orilla.models": (
        """
from orilla.train.models import ModelRow

ROW = ModelRow("extra_module", "an example")
PLANS = {"extra": "the plan"}
""",
        "from orilla.train.models import load_plan; used = load_plan('extra') == 'the plan'",
    ),
}


def test_every_group_is_documented_and_tested():
    assert set(KINDS) == set(PLUGINS)
    page = (ROOT / "docs" / "extending.md").read_text()
    assert not [group for group in PLUGINS if f"| `{group}` |" not in page]


@pytest.mark.parametrize("group", KINDS)
def test_one_file_and_one_entry_point_add_a_name(group, site):
    text, use = KINDS[group]
    site("extra-package", {group: {"extra": "extra_module:ROW"}}, {"extra_module.py": text})
    space = {}
    exec(use, space)
    assert space["used"]
    (finding,) = plugins.examine(PLUGINS)
    assert (finding.name, finding.level) == ("plug-in extra", "ok")
    assert finding.detail.endswith(" of extra-package 1.0")


LISTS = {
    "orilla.tasks": ("export", "--help"),
    "orilla.engines": ("devices",),
    "orilla.sources": ("run", "--help"),
    "orilla.sinks": ("run", "--help"),
    "orilla.importers": ("import", "--help"),
    "orilla.datasets": ("data", "list"),
    "orilla.models": ("train", "--help"),
}
"""For each plug-in group, the command that lists its names."""


@pytest.mark.parametrize("group", LISTS)
def test_a_command_lists_the_name_with_its_package(group, site, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "3000")
    site("extra-package", {group: {"extra": "extra_module:ROW"}}, {"extra_module.py": KINDS[group][0]})
    with contextlib.suppress(SystemExit):  # argparse exits after the help.
        assert main(list(LISTS[group])) == 0
    assert re.search(r"\bextra\b[^,;\n]*of extra-package 1\.0", capsys.readouterr().out)


@pytest.mark.parametrize("group", KINDS)
def test_a_broken_plug_in_is_one_line_when_it_is_used(group, site, caplog):
    site("extra-package", {group: {"extra": "extra_module:ROW"}}, {"extra_module.py": "import absent_package\n"})
    caplog.clear()
    with pytest.raises(
        ConfigError, match=r"`extra` of extra-package 1.0 is not used: .*'absent_package'; update"
    ) as caught:
        exec(KINDS[group][1], {})
    assert "\n" not in str(caught.value)
    assert not caplog.records  # Nothing is logged, because the error already states the reason.
    (finding,) = plugins.examine(PLUGINS)
    assert (finding.name, finding.level) == ("plug-in extra", "warning")


def test_the_page_shows_every_file_of_the_example():
    page = (ROOT / "docs" / "extending.md").read_text()
    assert len(FILES) == 6
    for path in FILES:
        language = "python" if path.suffix == ".py" else "toml"
        assert f"```{language}\n{path.read_text()}```" in page, f"docs/extending.md differs from {path}"


def test_the_example_passes_the_contracts(site):
    folder = install_example(site)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", EXAMPLE, EXAMPLE / "tests"]
    done = subprocess.run(command, env=environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 30


def test_a_bundle_of_the_example_runs_with_its_sink_and_engine(site, tmp_path, capsys):
    install_example(site)
    bundle, images, table = count_bundle(tmp_path / "b.orilla"), tmp_path / "images", tmp_path / "tally.csv"
    for index in range(3):
        factories.write_picture(images / f"{index}.png", factories.picture(seed=index))
    words = ["run", bundle, "--source", images, "--engine", "litert-reference", "--sink", f"tally:{table}"]
    assert main([str(word) for word in words]) == 0
    assert table.read_text().splitlines()[0] == "index,count"
    assert len(table.read_text().splitlines()) == 4
    assert main(["verify", str(bundle), "--engine", "litert-reference"]) == 0
    assert "reference" in capsys.readouterr().out


def test_a_bundle_whose_task_is_not_installed_says_so(site, tmp_path, capsys):
    install_example(site)
    bundle = count_bundle(tmp_path / "b.orilla")
    shutil.rmtree(next((tmp_path / "site").glob("*.dist-info")))
    plugins.installed_plugins.cache_clear()
    assert main(["show", str(bundle)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the task 'count' is not one of classify, segment" in line
    assert "if a package adds it, install the package" in line


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return the folder into which pip has installed the wheel of the example package."""
    folder = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = folder / "dist" / "orilla_count-0.1.0-py3-none-any.whl"
    for words in (
        ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheel.parent, source],
        ["install", "--no-deps", "--no-index", "--target", folder / "site", wheel],
    ):
        done = subprocess.run([*pip, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture
def changed(installed, tmp_path):
    """Return a function that copies the installed package and replaces text in its files. It returns the folder."""

    def change(path, old, new):
        folder = shutil.copytree(installed, tmp_path / "changed")
        (file,) = folder.glob(path)
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        return folder

    return change


@pytest.mark.slow
def test_the_commands_list_the_names_of_the_installed_wheel(installed, tmp_path):
    def output(*words):
        done = orilla(*words, env={**environment(installed), "COLUMNS": "400"})
        return " ".join((done.stdout + done.stderr).split())

    of = "of orilla-count 0.1.0"
    assert f"none, tally:FILE.csv ({of})" in output("run", "--help")
    assert f"count ({of})" in output("export", "--help")
    assert f"litert-reference plug-in {of} yes" in output("devices")
    assert "unknown sink 'taly': did you mean tally? Choose from clip" in output(
        "run", "road", "--source", "scenes", "--sink", "taly:x"
    )
    doctor = output("doctor")
    for name, kind in (("count", "task"), ("tally", "sink"), ("litert-reference", "engine")):
        assert f"ok plug-in {name}: {kind} {of}" in doctor
    assert "ok engine litert-reference: ai_edge_litert" in doctor


@pytest.mark.slow
def test_a_keras_model_is_exported_for_the_task_of_the_installed_wheel(installed, tmp_path):
    import keras

    image = keras.Input((64, 96, 3), name="image")
    heat = keras.layers.Conv2D(1, 1, activation="sigmoid", name="heat")
    output = heat(keras.layers.AveragePooling2D(8)(keras.layers.Rescaling(1 / 255)(image)))
    heat.set_weights([np.full((1, 1, 3, 1), 10.0), np.array([-15.0])])
    keras.Model(image, output).save(tmp_path / "heat.keras")
    (tmp_path / "labels.txt").write_text("sheep\n")
    for index in range(16):
        picture = np.full((128, 192, 3), 20, np.uint8)
        for sheep in range(index % 4):
            picture[32:64, 48 * sheep : 48 * sheep + 32] = 230
        factories.write_picture(tmp_path / "images" / f"{index:02}.png", picture)
    env = environment(installed)
    data = (
        "--calibration",
        "images",
        "--validation",
        "images",
        "--labels",
        "labels.txt",
        "--no-timing",
        "--recipes",
        "fast",
    )
    done = orilla("export", "heat.keras", "--task", "count", "--out", "b.orilla", *data, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert orilla("verify", "b.orilla", cwd=tmp_path, env=env).returncode == 0
    done = orilla("run", "b.orilla", "--source", "images", "--sink", "tally:t.csv", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    counts = [int(line.split(",")[1]) for line in (tmp_path / "t.csv").read_text().splitlines()[1:]]
    assert counts == [index % 4 for index in range(16)]


BROKEN = {
    "an import that fails": ("orilla_count/task.py", "import cv2\n", "import absent_package\n", {"count", "tally"}),
    "an object that is missing": ("*.dist-info/entry_points.txt", ".task:TASK", ".task:TASKS", {"count"}),
    "an object of another type": (
        "*.dist-info/entry_points.txt",
        "orilla_count:SINK",
        "orilla_count:ENGINE",
        {"tally"},
    ),
    "the name of a built-in sink": ("*.dist-info/entry_points.txt", "tally =", "jsonl =", {"jsonl"}),
    "a sink without open_sink": ("orilla_count/sink.py", "def open_sink", "def opened", {"tally"}),
    "a package that raises": ("orilla_count/__init__.py", "SINK =", "raise OSError('no\\nluck')\nSINK =", None),
    "an engine that crashes": (
        "orilla_count/engine.py",
        "def load",
        "import ctypes\nctypes.string_at(0)\ndef load",
        set(),
    ),
    "an engine that returns nothing": ("orilla_count/engine.py", "return LiteRTSession", "LiteRTSession", set()),
}
"""Each case changes one file of the package: the file, a string in it, the replacement of the string, and the names of
the plug-ins that the change breaks. If the names are None, it breaks all plug-ins."""


@pytest.mark.slow
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_package_costs_only_its_own_names(case, changed):
    path, old, new, broken = BROKEN[case]
    env = environment(changed(path, old, new))
    done = orilla("run", "road", "--source", "scenes", "--frames", "2", env=env)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)
    assert "orilla-count" not in done.stderr
    doctor = orilla("doctor", env=env)
    assert doctor.returncode == 0, doctor.stdout
    levels = {name: level for level, name in re.findall(r"^(\w+) +plug-in (\S+):", doctor.stdout, re.MULTILINE)}
    assert len(levels) == 3
    assert {name for name, level in levels.items() if level == "warn"} == (set(levels) if broken is None else broken)
    assert ("warn engine litert-reference: `litert-reference` does not work" in doctor.stdout) is (broken == set())
    for words in (("run", "--help"), ("devices",), ("export", "--help")):
        done = orilla(*words, env=env)
        assert done.returncode == 0
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_an_engine_that_crashes_does_not_stop_tune(changed):
    path, old, new, _ = BROKEN["an engine that crashes"]
    words = ("tune", "probe", "--seconds", "5", "--threads", "1", "--dry-run")
    done = orilla(*words, env=environment(changed(path, old, new)))
    assert done.returncode == 0, done.stderr
    assert "litert-reference" not in done.stdout
