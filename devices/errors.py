"""Errors that a user can cause or fix. The command line prints the message on one line and exits with code 2."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SIMILAR_FILES = 0.8
"""Minimum similarity of a file's name to the requested name for a suggestion."""


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
    """Raised if a model's output for one input contains NaN or infinity, so that there is no answer."""


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


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known name that is most similar to a name, or None if none is similar.

    All of Orilla's suggestions ("did you mean") come from this function.

    Args:
        name: A name that may be misspelt.
        known: The known names.
        cutoff: Smallest similarity, 0–1.
    """
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return near[0] if near else None


def neighbour(path: Path) -> str:
    """Return the hint `; did you mean PATH?` for a missing file.

    PATH is the file with the most similar name in the same folder. The hint is empty if no name is similar.
    """
    try:
        names = [file.name for file in path.parent.iterdir()]
    except (OSError, ValueError):
        return ""
    same_stem = next((name for name in names if name.rpartition(".")[0] == path.name), None)
    near = same_stem or nearest(path.name, names, cutoff=SIMILAR_FILES)
    return f"; did you mean {path.parent / near}?" if near else ""


def unknown_name(name: str, known: Iterable[str], *, kind: str) -> ConfigError:
    """Return the error for an unknown name. Its message lists the known names, and suggests the most similar one.

    Args:
        name: The unknown name.
        known: The known names.
        kind: The kind of object that the name refers to, such as `engine`.
    """
    names = sorted(known)
    near = nearest(name, names)
    hint = f"did you mean {near}? Choose from" if near is not None else "choose from"
    return ConfigError(f"unknown {kind} {name!r}: {hint} {', '.join(names)}")
