"""Check the path to which a command writes a bundle. Only bundles can be replaced, and only if the user asks for it."""

from __future__ import annotations

import argparse
from pathlib import Path

from orilla.devices.errors import ConfigError
from orilla.runtime.files import check_writable


def check_new(path: Path, *, overwrite: bool = False) -> None:
    """Raise `ConfigError` or `OutputError` if no bundle can be written to `path`.

    Args:
        path: Path of the bundle to write.
        overwrite: If True, `path` may be an existing bundle. No other file or folder is ever replaced.
    """
    if path.suffix not in (".orilla", ""):
        msg = f"{path}: the name of a bundle must end in .orilla (a file) or have no suffix (a folder)"
        raise ConfigError(msg)
    if path.exists():
        from orilla.runtime.bundle.file_kinds import recognise

        noun, kind = "folder" if path.is_dir() else "file", recognise(path)
        if kind is None or kind.reader != "bundle":
            msg = f"the {noun} {path} already exists and is not a bundle: remove it, or choose another name"
            raise ConfigError(msg)
        if not overwrite:
            msg = f"the bundle {path} already exists: set `overwrite` to replace it, or choose another name"
            raise ConfigError(msg)
    # A new folder is renamed to replace the old one, so the parent folder must be writable.
    check_writable(path.with_name(f"{path.name}.orilla") if path.is_dir() else path)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add the option that lets a command replace a bundle."""
    parser.add_argument("--overwrite", action="store_true", help="replace the bundle --out if it already exists")
