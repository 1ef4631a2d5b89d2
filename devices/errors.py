"""Errors that a user can cause or fix. The command line prints the message on one line and exits with code 2."""

from __future__ import annotations

from collections.abc import Iterable


class OrillaError(Exception):
    """Base class of all Orilla errors. The message is one line: what happened, with which value, and what to do."""


class ConfigError(OrillaError, ValueError):
    """Raised for an option or a name that cannot be used."""


class DataError(OrillaError, ValueError):
    """Raised for a data set, image or label that cannot be used."""


class BundleError(OrillaError, ValueError):
    """Raised for a bundle that is damaged, malicious or of an unsupported version."""


class EngineError(OrillaError, RuntimeError):
    """Raised if an inference engine cannot load or run a variant."""


class InvalidOutputError(EngineError):
    """Raised if a model's output for one input contains NaN or infinity, so that it has no answer."""


class SourceError(OrillaError, OSError):
    """Raised for a camera, file or stream that cannot be read."""


class OutputError(OrillaError, OSError):
    """Raised for a file or folder that cannot be written."""


class ConversionError(OrillaError, RuntimeError):
    """Raised for a model that cannot be converted or quantised."""


class MissingExtraError(OrillaError, ImportError):
    """Raised if a package is missing because its optional extra is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f'{package} is not installed: run pip install "orilla[{extra}]"')


def unknown_name(name: str, known: Iterable[str], *, kind: str) -> ConfigError:
    """Return the error for an unknown name. Its message lists the known names, and suggests the most similar one.

    Args:
        name: The unknown name.
        known: The known names.
        kind: The kind of object that the name stands for, such as `engine`.
    """
    from difflib import get_close_matches

    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}? Choose from" if near else "choose from"
    return ConfigError(f"unknown {kind} {name!r}: {hint} {', '.join(names)}")
