"""The command `orilla extract`: write a variant of a bundle as a model file for other runtimes."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.engines.registry import default_engine
from orilla.runtime.files import check_writable, write_bytes

if TYPE_CHECKING:
    from orilla.runtime.terminal.console import ResultConsole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", help="path of a bundle, or the name of a shipped one")
    parser.add_argument("variant", nargs="?", help="name of a variant (default: the bundle's default)")
    parser.add_argument("--out", type=Path, required=True, help="model file to write: .tflite or .onnx")
    parser.add_argument(
        "--bare", action="store_true", help="write the file exactly as it is in the bundle, without adding metadata"
    )


@dataclass(frozen=True, slots=True)
class ExtractResult(CommandResult):
    """The model file that was written."""

    file: str
    variant: str
    engine: str
    bytes: int
    """Size of the file."""

    def render(self, console: ResultConsole) -> None:
        """Print the path, the variant and the size of the file."""
        console.print_line(f"{self.file}: {self.variant}, {self.bytes:,} bytes")


def execute(arguments: argparse.Namespace) -> ExtractResult:
    """Write the model file."""
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.bundle.metadata import with_metadata

    bundle = Bundle.open(arguments.bundle)
    variant = bundle.manifest.variant(arguments.variant or bundle.manifest.default)
    suffix = Path(variant.file).suffix
    if arguments.out.suffix != suffix:
        msg = f"--out {arguments.out}: {variant.name} is a {suffix} file: give a file NAME{suffix}"
        raise ConfigError(msg)
    check_writable(arguments.out)
    data = bundle.read(variant.file) if arguments.bare else with_metadata(bundle, variant)
    write_bytes(arguments.out, data)
    return ExtractResult(str(arguments.out), variant.name, default_engine(variant.format), len(data))
