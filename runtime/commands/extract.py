"""The command `orilla extract`."""

from __future__ import annotations

import argparse
from pathlib import Path

from orilla.devices.errors import ConfigError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.metadata import with_metadata
from orilla.runtime.files import check_writable, write_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", help="path of a bundle, or the name of a shipped one")
    parser.add_argument("variant", nargs="?", help="name of a variant (default: the bundle's default)")
    parser.add_argument("--out", type=Path, required=True, help="model file to write: .tflite or .onnx")
    parser.add_argument("--bare", action="store_true", help="write the file as in the bundle, without metadata")


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Write the file. Return the exit code and the JSON document."""
    bundle = Bundle.open(arguments.bundle)
    variant = bundle.manifest.variant(arguments.variant or bundle.manifest.default)
    suffix = Path(variant.file).suffix
    if arguments.out.suffix != suffix:
        msg = f"--out {arguments.out}: {variant.name} is a {suffix} file"
        raise ConfigError(msg)
    check_writable(arguments.out)
    data = bundle.read(variant.file) if arguments.bare else with_metadata(bundle, variant)
    write_bytes(arguments.out, data)
    return 0, {"file": str(arguments.out), "variant": variant.name, "engine": variant.engine, "bytes": len(data)}


def show(document: dict[str, object]) -> None:
    """Print what was written."""
    print(f"{document['file']}: {document['variant']}, {document['bytes']:,} bytes")
