"""Shell completion: a script for bash, zsh or fish that completes commands, options, names and files.

The script is made from the parsers of the commands with the library shtab, so that pressing Tab starts no Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from orilla.devices.errors import ConfigError, MissingExtraError, unknown_name
from orilla.runtime.argument_parser import CommandParser

SHELLS = ("bash", "zsh", "fish")


def _bundles() -> Iterable[str]:
    from orilla.runtime.bundle.bundle import shipped

    return sorted(shipped())


def _devices() -> Iterable[str]:
    from orilla.devices.spec import catalog

    return catalog().devices


def _engines() -> Iterable[str]:
    from orilla.runtime.engines.registry import ENGINES

    return ENGINES


def _sources() -> Iterable[str]:
    from orilla.runtime.sources.registry import SOURCES

    kinds = ((name, kind.example) for name, kind in SOURCES.items() if kind.example.startswith(name))
    return (f"{name}:" if example.startswith(f"{name}:") else name for name, example in kinds)


def _sinks() -> Iterable[str]:
    from orilla.runtime.sinks.registry import SINKS

    return (f"{name}:" if kind.usage.startswith(f"{name}:") else name for name, kind in SINKS.items())


def _data() -> Iterable[str]:
    from orilla.runtime.evaluation.datasets.registry import READERS

    return READERS


def _tasks() -> Iterable[str]:
    from orilla.runtime.tasks.registry import TASKS

    return TASKS


NAMES: dict[str, Callable[[], Iterable[str]]] = {
    "bundle": _bundles,
    "cascade": _bundles,
    "data": _data,
    "device": _devices,
    "engine": _engines,
    "sink": _sinks,
    "source": _sources,
    "task": _tasks,
}
"""Function that returns the known values of a parameter, by the parameter. Files are also completed."""

FILES = ("a", "b", "calibration", "config", "folder", "golden", "labels", "model", "recording", "validation", "weights")
"""Parameters whose values are files or folders, in addition to those of the type `Path`."""


def script(shell: str, commands: Mapping[str, Callable[[argparse.ArgumentParser], None]]) -> str:
    """Return the script.

    Args:
        shell: Name of the shell.
        commands: Function that adds the arguments of each command to a parser.

    Raises:
        ConfigError: No shell is given, or it is unknown.
        MissingExtraError: shtab is not installed.
    """
    if not shell:
        msg = f"orilla completion needs a shell: choose from {', '.join(sorted(SHELLS))}"
        raise ConfigError(msg)
    if shell not in SHELLS:
        raise unknown_name(shell, SHELLS, kind="shell")
    try:
        import shtab
    except ImportError as error:
        msg = "shtab"
        raise MissingExtraError(msg, "completion") from error
    parser = CommandParser(prog="orilla")
    subparsers = parser.add_subparsers()
    for name, add_arguments in commands.items():
        add_arguments(subparsers.add_parser(name, help=name))  # shtab omits commands without a help text.
    subparsers.add_parser("completion", help="completion").add_argument("shell", choices=SHELLS)
    used = _complete_arguments(parser, shtab.FILE)
    preamble = "\n".join(_FUNCTIONS[shell].format(name=name, words=" ".join(NAMES[name]())) for name in sorted(used))
    return str(shtab.complete(parser, shell, preamble={shell: preamble}))


def _complete_arguments(parser: argparse.ArgumentParser, files: dict[str, str]) -> set[str]:
    """Add the completion of each argument. Return the parameters whose names are completed."""
    used: set[str] = set()
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list of arguments
        if isinstance(action.choices, dict):
            for subparser in action.choices.values():
                used |= _complete_arguments(subparser, files)
        elif action.nargs == 0 or action.choices is not None:
            continue
        elif action.dest in NAMES:
            used.add(action.dest)
            function = f"_orilla_complete_{action.dest}"
            vars(action)["complete"] = {"bash": function, "zsh": function, "fish": f"({function})"}
        elif action.type is Path or action.dest in FILES:
            vars(action)["complete"] = files
    return used


_FUNCTIONS = {
    "bash": '_orilla_complete_{name}() {{ compgen -W "{words}" -- "$1"; _shtab_compgen_files "$1"; }}',
    "zsh": "_orilla_complete_{name}() {{ _alternative 'names:{name}:({words})' 'files:file:_files' }}",
    "fish": "function _orilla_complete_{name}; printf '%s\\n' {words}; __fish_complete_path (commandline -ct); end",
}
