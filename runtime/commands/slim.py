"""The command `orilla slim`."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from orilla.devices.errors import ConfigError
from orilla.runtime.bundle import bundle as bundles
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import Manifest


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


def slim(bundle: Bundle, keep: str, default: str | None) -> tuple[Manifest, dict[str, bytes]]:
    """Return the manifest and the files of a bundle with only some of its variants.

    Args:
        bundle: The bundle.
        keep: Names separated by commas; `default` means the bundle's default.
        default: New default variant, or None.

    Raises:
        ConfigError: A variant does not exist, or the default is not kept.
    """
    manifest = bundle.manifest
    names = [manifest.default if name == "default" else name for name in _split(keep)]
    kept = [manifest.variant(name) for name in names]
    if not kept:
        msg = f"--keep {keep!r} names no variant"
        raise ConfigError(msg)
    chosen = default or (manifest.default if manifest.default in names else names[0])
    if chosen not in names:
        msg = f"--default {chosen} is not among those kept: {', '.join(names)}"
        raise ConfigError(msg)
    left = {path for variant in manifest.variants for path in variant.files}
    left -= {path for variant in kept for path in variant.files}
    files = {path: bundle.read(path) for path in manifest.files if path not in left}
    order = [variant for variant in manifest.variants if variant.name in names]
    smaller = msgspec.structs.replace(manifest, variants=tuple(order), default=chosen, files=bundles.entries(files))
    return smaller, files


def _split(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def show(document: dict[str, object]) -> None:
    """Print what is left."""
    size, before = (float(document[name]) / 2**20 for name in ("bytes", "bytes_before"))  # type: ignore[arg-type]
    variants: list[str] = document["variants"]  # type: ignore[assignment]
    print(
        f"{document['bundle']}: {', '.join(variants)}; {size:.2f} MiB of {before:.2f}; {document['default']} by default"
    )
