"""The command `orilla slim`: write a bundle with only some of its variants."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.runtime.bundle.destination import add_overwrite, check_new
from orilla.runtime.commands.result import CommandResult

if TYPE_CHECKING:
    from orilla.runtime.terminal.console import ResultConsole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", help="path of a bundle, or the name of a shipped one")
    parser.add_argument(
        "--keep",
        required=True,
        help="names of the variants to keep, separated by commas; the word default selects the default variant",
    )
    parser.add_argument("--out", type=Path, required=True, help="bundle to write: a .orilla file, or a folder")
    add_overwrite(parser)
    parser.add_argument(
        "--default",
        help="new default variant (default: the current default if it is kept, else the first variant in --keep)",
    )


@dataclass(frozen=True, slots=True)
class SlimResult(CommandResult):
    """The bundle that was written."""

    bundle: str
    default: str
    variants: list[str]
    bytes: int
    """Total size of this bundle's files."""
    bytes_before: int
    """Total size of the original bundle's files."""

    def render(self, console: ResultConsole) -> None:
        """Print the variants and the size of the bundle."""
        size, before = (count / 2**20 for count in (self.bytes, self.bytes_before))
        names = ", ".join(self.variants)
        console.print_line(f"{self.bundle}: {names}; {size:.2f} of {before:.2f} MiB; {self.default} is the default")


def execute(arguments: argparse.Namespace) -> SlimResult:
    """Write the smaller bundle."""
    from orilla.runtime.bundle import bundle as bundles
    from orilla.runtime.bundle.slim import slim

    bundle = bundles.Bundle.open(arguments.bundle)
    check_new(arguments.out, overwrite=arguments.overwrite)
    manifest, files = slim(bundle, arguments.keep, arguments.default)
    bundles.write(arguments.out, manifest, files)
    return SlimResult(
        bundle=str(arguments.out),
        default=manifest.default,
        variants=[variant.name for variant in manifest.variants],
        bytes=sum(entry.size for entry in manifest.files.values()),
        bytes_before=sum(entry.size for entry in bundle.manifest.files.values()),
    )
