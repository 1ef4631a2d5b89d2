"""Command lines that start this Python again."""

from __future__ import annotations

import sys

WITHOUT_FOLDER = (
    "import runpy, sys; sys.path = [place for place in sys.path if place]; sys.argv = sys.argv[1:]; "
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)
"""Program that runs a module like `python -P -m MODULE`. Python 3.10 has no option `-P`."""


def module_command(module: str, *words: str) -> list[str]:
    """Return the command that runs a module of an installed package in a new process.

    The new process does not import from the current folder, where a file may have the name of a package.
    """
    if sys.version_info >= (3, 11):
        return [sys.executable, "-P", "-m", module, *words]
    return [sys.executable, "-c", WITHOUT_FOLDER, module, *words]


def program_command(program: str) -> list[str]:
    """Return the command that runs the text of a program in a new process, which does not import from this folder."""
    if sys.version_info >= (3, 11):
        return [sys.executable, "-P", "-c", program]
    return [sys.executable, "-c", f"import sys; sys.path = [place for place in sys.path if place]; {program}"]
