"""Errors that a user can cause or fix. The command line prints their one line and exits with 2."""

from __future__ import annotations

from collections.abc import Iterable


class OrillaError(Exception):
    """Root of the error tree. The message is one line: what happened, which value, what to do."""


class ConfigError(OrillaError, ValueError):
    """An option or a name that cannot be used."""


class DataError(OrillaError, ValueError):
    """A data set, image or label that cannot be used."""


class BundleError(OrillaError, ValueError):
    """A bundle that is damaged, hostile or of another version."""


class EngineError(OrillaError, RuntimeError):
    """An inference engine that cannot load or run a variant."""


class SourceError(OrillaError, OSError):
    """A camera, file or stream that cannot be read."""


class OutputError(OrillaError, OSError):
    """A file or folder that cannot be written."""


class ConversionError(OrillaError, RuntimeError):
    """A model that cannot be converted or quantised."""


class MissingExtraError(OrillaError, ImportError):
    """A package that is missing because its optional extra is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f'{package} is not installed: run pip install "orilla[{extra}]"')


def unknown_name(name: str, known: Iterable[str], *, kind: str) -> ConfigError:
    """Return the error for a name that is not in a registry. The message lists the known names, the nearest first."""
    from difflib import get_close_matches

    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return ConfigError(f"unknown {kind} {name!r}: {hint}known are {', '.join(names)}")
