"""The install page: its packages and Python versions match those of the project."""

import re
from pathlib import Path

from orilla.devices import toml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/install.md").read_text()
PROJECT = toml.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(requirements):
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}


def test_the_packages_without_opencv_are_all_dependencies():
    """A user who installs with --no-deps needs the complete list, so the page must contain each new dependency."""
    (line,) = re.findall(r"^pip install (ai-edge-litert av [\w -]+)$", PAGE, re.M)
    assert set(line.split()) == names(PROJECT["dependencies"]) - {"opencv-python-headless"}
    (line,) = re.findall(r"^pip install (ai-edge-litert av .*)# on Trixie", re.sub(" {2,}#", "#", PAGE), re.M)
    assert names(line.replace('"', "").split()) >= names(PROJECT["dependencies"]) - {"opencv-python-headless", "tomli"}


def test_the_tested_python_versions_are_those_of_the_metadata():
    tested = re.findall(r"^\| (3\.\d+) \|.*\| tested \|", PAGE, re.M)
    classifiers = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert tested == classifiers
    assert PROJECT["requires-python"] == f">={tested[0]},<3.{int(tested[-1].split('.')[1]) + 1}"


def test_the_container_copies_every_part():
    text = (ROOT / "Containerfile").read_text()
    copied = set(re.findall(r"^COPY (\w+) \1$", text, re.M))
    assert copied == {"devices", "runtime", "export", "train"}
    assert re.search(r"^USER orilla$", text, re.M)
