"""What machine a shared library was built for, read from its ELF header."""

from __future__ import annotations

import os
import platform
import struct
import sys
from pathlib import Path

MACHINES = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
"""`e_machine` to the kernel's name of it. Source: System V ABI, ELF header."""

EDGETPU = {"darwin": "libedgetpu.1.dylib", "win32": "edgetpu.dll"}.get(sys.platform, "libedgetpu.so.1")
"""Coral's library."""

EDGETPU_VARIABLE = "ORILLA_EDGETPU"
"""Environment variable that names another one, which is not where the loader looks."""

FOLDERS = ("/usr/local/lib", "/usr/lib", "/lib", "/usr/lib64")


def built_for(library: Path) -> str | None:
    """The architecture that a library is for; None where it is no ELF file."""
    try:
        with library.open("rb") as file:
            header = file.read(20)
    except OSError:
        return None
    if len(header) < 20 or header[:4] != b"\x7fELF":
        return None
    order = "<" if header[5] == 1 else ">"
    return MACHINES.get(struct.unpack(f"{order}H", header[18:20])[0], "another machine")


def native() -> str:
    """The architecture of this Python, which on a 64-bit kernel may be a 32-bit one, by the names of `MACHINES`."""
    machine = platform.machine()
    if struct.calcsize("P") == 4:
        machine = {"aarch64": "armv7l", "x86_64": "i686"}.get(machine, machine)
    return "armv7l" if machine.startswith(("armv6", "armv7", "armv8")) else {"arm64": "aarch64"}.get(machine, machine)


def find_library(name: str, root: Path = Path("/")) -> Path | None:
    """A shared library by its file name, where the loader would look for it, and one for this Python before others.

    None where it is in none of these folders.
    """
    folders = [Path(one) for one in os.environ.get("LD_LIBRARY_PATH", "").split(":") if one]
    for folder in FOLDERS:
        below = root / folder.lstrip("/")
        folders += [below, *sorted(below.glob("*-linux-*"))]
    found = [folder / name for folder in folders if _is_file(folder / name)]
    return next((path for path in found if built_for(path) in (native(), None)), found[0] if found else None)


def edgetpu_library(root: Path = Path("/")) -> Path | None:
    """Coral's library: the one that `$ORILLA_EDGETPU` names, else where the loader would look."""
    named = os.environ.get(EDGETPU_VARIABLE)
    return Path(named) if named else find_library(EDGETPU, root)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that may not be read
        return False
