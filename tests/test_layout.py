"""The structure of the project: packages, imports, and the modules that are loaded on a robot."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from orilla.devices import toml

ROOT = Path(__file__).parents[1]
PARTS = ("devices", "runtime", "export", "train")
HEAVY = ("tensorflow", "keras", "onnx", "onnxruntime", "matplotlib", "litert_quantizer", "tf2onnx", "torch", "jax")

pyproject = toml.loads((ROOT / "pyproject.toml").read_text())


def python(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **options)


def test_every_folder_of_modules_is_packaged():
    """A sub-package that pyproject.toml does not list works in an editable install, but is missing from the wheel."""
    folders = {
        "orilla." + str(init.parent.relative_to(ROOT)).replace("/", ".")
        for part in PARTS
        for init in (ROOT / part).rglob("__init__.py")
    }
    assert folders == set(pyproject["tool"]["setuptools"]["packages"])
    for part in PARTS:
        for module in (ROOT / part).rglob("*.py"):
            assert (module.parent / "__init__.py").exists(), module


def test_the_top_level_has_only_the_known_folders():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    folders = {line.split("/")[0] for line in listed.stdout.splitlines() if "/" in line}
    assert folders == {*PARTS, "tests", "docs", ".ci", ".github"}


def test_every_module_says_what_it_is():
    for part in PARTS:
        for module in (ROOT / part).rglob("*.py"):
            first = module.read_text().split("\n", 1)[0]
            assert first.startswith('"""'), module
            assert first.rstrip('"').endswith((".", ",")) or len(first) > 40, module


def test_no_module_is_too_long():
    for part in PARTS:
        for module in (ROOT / part).rglob("*.py"):
            assert len(module.read_text().splitlines()) <= 400, module


@pytest.mark.parametrize("statement", ["import orilla.runtime", "import orilla.devices", "import orilla.runtime.cli"])
def test_light_imports(statement):
    done = python("-c", f"{statement}\nimport sys\nprint(*(name.split('.')[0] for name in sys.modules))")
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & {*HEAVY, "numpy", "cv2", "rich", "ai_edge_litert"}


def test_a_running_loop_loads_nothing_heavy(tiny_bundle):
    code = (
        "import sys, numpy, orilla.runtime\n"
        f"with orilla.runtime.open({str(tiny_bundle)!r}) as model:\n"
        "    model(numpy.zeros((20, 30, 3), numpy.uint8))\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "ai_edge_litert" in loaded
    assert not loaded & {*HEAVY, "rich"}


def test_the_namespace_has_no_file_of_its_own():
    done = python("-c", "import orilla; print(orilla.__file__ if hasattr(orilla, '__file__') else None)")
    assert done.stdout.strip() == "None"


def test_rooms_import_downwards_only():
    """No package imports from a higher layer or in a cycle, and the package graph stays within its limits."""
    done = python(str(ROOT / "docs" / "architecture" / "rooms.py"))
    assert done.returncode == 0, done.stderr
    counts = [int(number) for number in re.findall(r"\d+", "".join(done.stdout.splitlines(keepends=True)[:2]))]
    rooms, floors, arrows, upward, circles, loose = counts
    assert (upward, circles) == (0, 0), done.stdout
    assert rooms <= 30, done.stdout
    assert floors <= 12, done.stdout
    assert arrows <= 150, done.stdout
    assert loose <= 16, done.stdout


def test_the_picture_of_the_rooms_is_current():
    done = python(str(ROOT / "docs" / "architecture" / "draw.py"), "--check")
    assert done.returncode == 0, done.stderr


def test_the_architecture_page_names_every_room():
    page = (ROOT / "docs" / "architecture.md").read_text()
    children = [
        path for path in (ROOT / "runtime").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    ]
    rooms = {f"runtime.{path.stem}" for path in children} - {"runtime.__init__"}
    assert len(rooms) > 20
    assert not [room for room in (*sorted(rooms), "devices", "export", "train") if f"| `{room}` |" not in page]


STATE = re.compile(
    r"os\.environ\.setdefault|os\.environ\[[^]]+\] =|signal\.signal\(|os\.dup2\(|field_size_limit|setLogLevel"
    r"|set_default_logger_severity|sched_setaffinity|getLogger\("
)
"""Calls that change the state of the whole process."""


def test_process_wide_state_is_listed():
    page = (ROOT / "docs" / "decisions" / "process-wide-state.md").read_text()
    for package in PARTS:
        for file in (ROOT / package).rglob("*.py"):
            if STATE.search(file.read_text()):
                assert str(file.relative_to(ROOT)) in page, f"{file} changes the state of the process"
