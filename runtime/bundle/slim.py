"""Remove variants from a bundle."""

from __future__ import annotations

import msgspec

from orilla.devices.errors import ConfigError
from orilla.runtime.bundle import bundle as bundles
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import Manifest


def slim(bundle: Bundle, keep: str, default: str | None) -> tuple[Manifest, dict[str, bytes]]:
    """Return the manifest and the files of a bundle with only some of its variants.

    Args:
        bundle: The bundle.
        keep: Names of the variants to keep, separated by commas. `default` stands for the bundle's default variant.
        default: The new default variant. If None, the old default variant is used if it is in `keep`, else the first
            variant in `keep`.

    Raises:
        ConfigError: A variant does not exist, or the new default variant is not in `keep`.
    """
    manifest = bundle.manifest
    names = [manifest.default if name == "default" else name for name in _split(keep)]
    variants = [manifest.variant(name) for name in names]
    if not variants:
        msg = f"`keep` is {keep!r}, which contains no name of a variant"
        raise ConfigError(msg)
    chosen = default or (manifest.default if manifest.default in names else names[0])
    if chosen not in names:
        msg = f"`default` is {chosen}, which is not among the kept variants: {', '.join(names)}"
        raise ConfigError(msg)
    removed = {path for variant in manifest.variants for path in variant.files}
    removed -= {path for variant in variants for path in variant.files}
    files = {path: bundle.read(path) for path in manifest.files if path not in removed}
    order = [variant for variant in manifest.variants if variant.name in names]
    smaller = msgspec.structs.replace(manifest, variants=tuple(order), default=chosen, files=bundles.entries(files))
    return smaller, files


def _split(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
