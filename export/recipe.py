"""Recipes: the rows of `recipes.toml`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import msgspec

from orilla.devices.errors import ConfigError, unknown_name

SUFFIXES = {"litert": ".tflite", "onnx": ".onnx"}
"""Engine to the suffix of its files."""


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to shrink a model; functions are named `module:function`."""

    engine: str
    base: str
    """Converts the Keras model to the float file, once for all recipes that share it."""
    weights: str
    activations: str
    quantise: str | None = None
    """Makes the variant from the float file; None where the float file is the variant."""
    calibrated: bool = False


@cache
def recipes() -> dict[str, Recipe]:
    """All recipes by name, in the file's order."""
    import tomllib

    rows = tomllib.loads(files("orilla.export").joinpath("recipes.toml").read_text())
    return {name: msgspec.convert(row, Recipe) for name, row in rows.items()}


def select(text: str) -> dict[str, Recipe]:
    """`all`, or names with commas between; raises `ConfigError` for an unknown one."""
    known = recipes()
    names = list(known) if text == "all" else [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ConfigError(f"--recipes {text!r} names no recipe: known are all, {', '.join(known)}")
    for name in names:
        if name not in known:
            raise unknown_name("recipe", name, known)
    return {name: known[name] for name in names}
