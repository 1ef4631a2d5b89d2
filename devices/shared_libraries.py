"""Find shared libraries and read their architecture from the ELF header."""

from __future__ import annotations

import os
import platform
import struct
import sys
from pathlib import Path

MACHINES = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
"""`e_machine` to the name that the kernel uses. Source: System V ABI, ELF header."""

EDGETPU = {"darwin": "libedgetpu.1.dylib", "win32": "edgetpu.dll"}.get(sys.platform, "libedgetpu.so.1")
"""File name of Coral's library."""

EDGETPU_VARIABLE = "ORILLA_EDGETPU"
"""Environment variable with the path of another library, for one that the loader would not find."""

FOLDERS = ("/usr/local/lib", "/usr/lib", "/lib", "/usr/lib64")


def built_for(library: Path) -> str | None:
    """Return the architecture of a library. None if it is not an ELF file."""
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
    """Return the architecture of this Python in the names of `MACHINES`. On a 64-bit kernel it may be 32-bit."""
    machine = platform.machine()
    if struct.calcsize("P") == 4:
        machine = {"aarch64": "armv7l", "x86_64": "i686"}.get(machine, machine)
    return "armv7l" if machine.startswith(("armv6", "armv7", "armv8")) else {"arm64": "aarch64"}.get(machine, machine)


def find_library(name: str, root: Path = Path("/")) -> Path | None:
    """Find a shared library by file name in the folders of the loader. One for this Python comes first.

    Return None if none of the folders contains it.
    """
    folders = [Path(one) for one in os.environ.get("LD_LIBRARY_PATH", "").split(":") if one]
    for folder in FOLDERS:
        below = root / folder.lstrip("/")
        folders += [below, *sorted(below.glob("*-linux-*"))]
    found = [folder / name for folder in folders if _is_file(folder / name)]
    return next((path for path in found if built_for(path) in (native(), None)), found[0] if found else None)


def edgetpu_library(root: Path = Path("/")) -> Path | None:
    """Find Coral's library: the path in `$ORILLA_EDGETPU`, else the loader's choice."""
    named = os.environ.get(EDGETPU_VARIABLE)
    return Path(named) if named else find_library(EDGETPU, root)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the folder may be unreadable
        return False
