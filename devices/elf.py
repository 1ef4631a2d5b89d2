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
    """The architecture of this Python, which on a 64-bit kernel may be a 32-bit one."""
    machine = platform.machine()
    if struct.calcsize("P") == 4:
        return {"aarch64": "armv7l", "x86_64": "i686"}.get(machine, machine)
    return machine


def find_library(name: str, root: Path = Path("/")) -> Path | None:
    """A shared library by its file name, where the loader would look for it; None where it is in none of these
    folders."""
    folders = [Path(one) for one in os.environ.get("LD_LIBRARY_PATH", "").split(":") if one]
    for folder in FOLDERS:
        below = root / folder.lstrip("/")
        folders += [below, *sorted(below.glob("*-linux-*"))]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
