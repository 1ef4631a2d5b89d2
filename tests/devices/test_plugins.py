"""Tables that packages extend. If a package is broken, only its own names are unavailable."""

import json
import logging
import os
import subprocess
import sys

import pytest
from helpers.plugins import write_package

from orilla.devices import plugins
from orilla.devices.errors import ConfigError
from orilla.devices.plugins import ModuleRegistry, Modules, Registry
from orilla.runtime.sinks.registry import SinkKind

GOOD = {"good_words.py": "WORD = 'nice'\nNUMBER = 3\n"}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Return a function that installs a package in a folder on `sys.path`."""
    monkeypatch.syspath_prepend(tmp_path)
    loaded = set(sys.modules)

    def install(name, entry_points, files=None):
        write_package(tmp_path, name, entry_points, files)
        plugins.installed_plugins.cache_clear()

    yield install
    plugins.installed_plugins.cache_clear()
    for module in set(sys.modules) - loaded:
        del sys.modules[module]


@pytest.fixture
def words():
    return Registry("word", "orilla.words", str, {"hello": "json:__name__", "bye": "re:__name__"})


def test_a_package_adds_a_name(words, site):
    assert list(words) == ["hello", "bye"]
    site("nice-words", {"orilla.words": {"nice": "good_words:WORD"}}, GOOD)
    assert list(words) == ["hello", "bye", "nice"]
    assert len(words) == 3
    assert words["nice"] == words.find("nice") == "nice"
    assert (words.package("nice"), words.package("hello"), words.package("none")) == ("nice-words 1.0", None, None)
    assert words.described(lambda name, _: name) == "hello, bye, nice (of nice-words 1.0)"
    (finding,) = words.findings()
    assert (finding.name, finding.level, finding.detail) == ("plug-in nice", "ok", "word of nice-words 1.0")


def test_an_unknown_name_lists_the_plug_ins(words, site):
    site("nice-words", {"orilla.words": {"nice": "good_words:WORD"}}, GOOD)
    with pytest.raises(ConfigError, match="unknown word 'nise': did you mean nice"):
        words.find("nise")


@pytest.mark.parametrize(
    ("value", "files", "reason"),
    [
        ("absent_module:WORD", {}, "ModuleNotFoundError: No module named 'absent_module'"),
        ("good_words:ABSENT", GOOD, "AttributeError: module 'good_words' has no attribute 'ABSENT'"),
        ("good_words:NUMBER", GOOD, "good_words:NUMBER is an object of type int, not str"),
        ("good_words", GOOD, "good_words is an object of type module, not str"),
        ("bad_words:WORD", {"bad_words.py": "WORD ="}, "SyntaxError: invalid syntax"),
        ("bad_words:WORD", {"bad_words.py": "raise SystemExit(3)"}, "SystemExit: 3"),
        ("bad_words:WORD", {"bad_words.py": "raise ValueError('one\\ntwo')"}, "ValueError: one"),
        ("", {}, "ValueError: Empty module name"),
    ],
)
def test_a_broken_plug_in_costs_only_itself(words, site, caplog, value, files, reason):
    site("bad-words", {"orilla.words": {"bad": value}}, files)
    site("nice-words", {"orilla.words": {"nice": "nice_words:WORD"}}, {"nice_words.py": GOOD["good_words.py"]})
    with caplog.at_level(logging.WARNING, "orilla"):
        assert list(words) == list(words) == ["hello", "bye", "nice"]
    (record,) = caplog.records
    fix = "update or uninstall the package (pip install --upgrade bad-words, or pip uninstall bad-words)"
    assert record.getMessage().startswith(f"the word `bad` of bad-words 1.0 is not used: {reason}")
    assert record.getMessage().endswith(f"; {fix}")
    assert "\n" not in record.getMessage()
    with pytest.raises(ConfigError) as caught:
        words.find("bad")
    assert str(caught.value) == record.getMessage()
    assert len(caplog.records) == 1
    assert "bad" not in words
    bad, nice = words.findings()
    assert (bad.level, bad.fix, nice.level) == ("warning", fix, "ok")
    assert reason in bad.detail


def test_a_plug_in_cannot_replace_a_built_in_name(words, site, caplog):
    site("bad-words", {"orilla.words": {"hello": "good_words:WORD"}}, GOOD)
    assert words["hello"] == "json"
    assert list(words) == ["hello", "bye"]
    assert "the word `hello` of bad-words 1.0 is not used: the word `hello` is part of Orilla" in caplog.text
    assert [finding.level for finding in words.findings()] == ["warning"]


def test_two_packages_with_one_name_are_both_left_out(words, site, caplog):
    for name in ("nice-words", "other-words"):
        site(name, {"orilla.words": {"nice": "good_words:WORD"}}, GOOD)
    assert list(words) == ["hello", "bye"]
    assert "2 packages add the word `nice`; uninstall all but one of these packages" in caplog.text
    assert "nice-words 1.0" in caplog.text
    assert "other-words 1.0" in caplog.text


def test_entry_points_that_cannot_be_read_are_a_finding(words, site, tmp_path, caplog):
    site("bad-words", {"orilla.words": {"bad": "good_words:WORD"}})
    (tmp_path / "bad_words-1.0.dist-info" / "entry_points.txt").write_text("[orilla.words]\nno value\n")
    site("nice-words", {"orilla.words": {"nice": "good_words:WORD"}}, GOOD)
    assert "nice" in words
    line = "the entry points of bad-words 1.0 cannot be read: a line of its entry_points.txt is invalid"
    assert caplog.text.count(line) == 1
    findings = {finding.detail: finding.level for finding in plugins.examine({})}
    assert findings[line] == "warning"


def test_an_unknown_group_is_a_finding(site):
    site("bad-words", {"orilla.word": {"bad": "good_words:WORD"}})
    (finding,) = plugins.examine({"orilla.words": "json:absent"})
    assert finding.detail == "bad-words 1.0 adds `bad` to the unknown group orilla.word"
    assert "orilla.words" in finding.fix


def test_the_module_of_a_row_is_checked(site):
    sinks = ModuleRegistry("sink", "orilla.sinks", {"x": SinkKind("x", "json")}, Modules(("open_sink", "NEEDS_TARGET")))
    row = "from orilla.runtime.sinks.registry import SinkKind\nSINK = SinkKind('csv:FILE', 'rows_{0}')\n"
    files = {f"row_{name}.py": row.format(name) for name in ("good", "bare", "broken")}
    files |= {"rows_good.py": "NEEDS_TARGET = False\ndef open_sink(): ...\n", "rows_bare.py": "open_sink = 1\n"}
    files |= {"rows_broken.py": "import absent_package\n"}
    site("rows", {"orilla.sinks": {name: f"row_{name}:SINK" for name in ("good", "bare", "broken")}}, files)
    assert sinks.module("good").NEEDS_TARGET is False
    assert sinks.module("x").__name__ == "json"
    with pytest.raises(ConfigError, match=r"the sink `bare` of rows 1.0 is not used: rows_bare does not define NEEDS_"):
        sinks.module("bare")
    with pytest.raises(ConfigError, match="No module named 'absent_package'; update or uninstall"):
        sinks.module("broken")
    levels = {finding.name: finding.level for finding in sinks.findings()}
    assert levels == {"plug-in bare": "warning", "plug-in broken": "warning", "plug-in good": "ok"}


def test_a_built_in_name_reads_no_entry_points(tmp_path):
    """A command that uses only built-in names starts as quickly as without plug-ins."""
    write_package(tmp_path, "bad-words", {"orilla.sinks": {"bad": "absent:SINK"}})
    code = (
        "import json, importlib.metadata as metadata\n"
        "from orilla.devices import plugins\n"
        "metadata.distributions = None\n"  # From here on, reading the entry points would raise an error.
        "from orilla.runtime.cli import main\n"
        "code = main(['run', 'road', '--source', 'scenes', '--frames', '2', '--sink', 'jsonl'])\n"
        "assert code == 0 and plugins.installed_plugins.cache_info().misses == 0\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["index"] for line in done.stdout.splitlines()] == [0, 1]
    assert "bad" not in done.stderr


def test_a_package_without_metadata_is_a_finding(words, site, tmp_path, caplog):
    site("bad-words", {"orilla.words": {"bad": "good_words:WORD"}})
    (tmp_path / "bad_words-1.0.dist-info" / "METADATA").write_bytes(b"\xff\xfe")
    assert list(words) == ["hello", "bye"]
    assert len(plugins.examine({"orilla.words": "json:absent"})) == 1
