"""The command `orilla slim`."""

from __future__ import annotations

import argparse
from pathlib import Path

from orilla.runtime.bundle import bundle as bundles
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.slim import slim


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", help="path of a bundle, or the name of a shipped one")
    parser.add_argument(
        "--keep",
        required=True,
        help="names of the variants to keep, separated by commas; default means the default variant",
    )
    parser.add_argument("--out", type=Path, required=True, help="bundle to write: a .orilla file, or a folder")
    parser.add_argument("--default", help="new default variant (default: the bundle's if it is kept, else the first)")


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Write the smaller bundle. Return the exit code and the JSON document."""
    bundle = Bundle.open(arguments.bundle)
    bundles.check_new(arguments.out)
    manifest, files = slim(bundle, arguments.keep, arguments.default)
    bundles.write(arguments.out, manifest, files)
    return 0, {
        "bundle": str(arguments.out),
        "default": manifest.default,
        "variants": [variant.name for variant in manifest.variants],
        "bytes": sum(entry.size for entry in manifest.files.values()),
        "bytes_before": sum(entry.size for entry in bundle.manifest.files.values()),
    }


def show(document: dict[str, object]) -> None:
    """Print what is left."""
    size, before = (float(document[name]) / 2**20 for name in ("bytes", "bytes_before"))  # type: ignore[arg-type]
    variants: list[str] = document["variants"]  # type: ignore[assignment]
    print(
        f"{document['bundle']}: {', '.join(variants)}; {size:.2f} MiB of {before:.2f}; {document['default']} by default"
    )
