"""Find shared libraries and read their architecture from the ELF header."""

from __future__ import annotations

import os
import platform
import struct
import sys
from pathlib import Path

MACHINES = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
"""Names of architectures, as Linux spells them, by the value of the field `e_machine` in the ELF header. Source: System
V ABI, ELF header."""

EDGETPU = {"darwin": "libedgetpu.1.dylib", "win32": "edgetpu.dll"}.get(sys.platform, "libedgetpu.so.1")
"""File name of Coral's library."""

EDGETPU_VARIABLE = "ORILLA_EDGETPU"
"""Environment variable with the path of Coral's library. It is needed if the library is in a folder that the loader
does not search."""

FOLDERS = ("/usr/local/lib", "/usr/lib", "/lib", "/usr/lib64")
"""Folders that the loader searches."""


def built_for(library: Path) -> str | None:
    """Return the architecture of a library, or None if it is not an ELF file."""
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
    """Return the architecture of this Python, which may be 32-bit on a 64-bit kernel. The name is one of `MACHINES`."""
    machine = platform.machine()
    if struct.calcsize("P") == 4:
        machine = {"aarch64": "armv7l", "x86_64": "i686"}.get(machine, machine)
    return "armv7l" if machine.startswith(("armv6", "armv7", "armv8")) else {"arm64": "aarch64"}.get(machine, machine)


def find_library(name: str, root: Path = Path("/")) -> Path | None:
    """Return the path of a shared library, or None if the loader would not find it.

    If several folders contain it, one that is built for this Python is preferred.

    Args:
        name: File name of the library.
        root: Root of the file system.
    """
    folders = [Path(folder) for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    for folder in FOLDERS:
        path = root / folder.lstrip("/")
        folders += [path, *sorted(path.glob("*-linux-*"))]
    paths = [folder / name for folder in folders if _is_file(folder / name)]
    fitting = (path for path in paths if built_for(path) in (native(), None))
    return next(fitting, paths[0] if paths else None)


def edgetpu_library(root: Path = Path("/")) -> Path | None:
    """Return the path of Coral's library from `$ORILLA_EDGETPU`, else from the loader's folders, else None."""
    path = os.environ.get(EDGETPU_VARIABLE)
    return Path(path) if path else find_library(EDGETPU, root)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # The folder may be unreadable.
        return False
