"""Recipes: the rows of `recipes.toml`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec

from orilla.devices.errors import ConfigError, unknown_name
from orilla.export.model_info import ModelInfo

SUFFIXES = {"litert": ".tflite", "onnx": ".onnx"}
"""Engine to the suffix of its files."""

GROUPS = ("all", "fast")
"""Names that select several recipes."""

Need = Literal["lstm", "no loops", "no sequences", "no convolutions"]


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to build a variant. Functions are named `module:function`."""

    engine: str
    base: str
    """Function that converts the Keras model, once for all recipes that share it."""
    weights: str
    activations: str
    quantise: str | None = None
    """Function that makes the variant from the base. None if the base is the variant."""
    options: dict[str, str] = {}
    """Further arguments of `quantise`."""
    sequences: str | None = None
    """Replaces `base` and `quantise` for models with recurrent layers or embeddings."""
    calibrated: bool = False
    """True if the recipe needs calibration samples."""
    needs: tuple[Need, ...] = ()
    fast: bool = False

    def fit(self, info: ModelInfo) -> Recipe:
        """Return the recipe adapted to a model."""
        if self.sequences is None or not (info.recurrent or info.embeddings):
            return self
        return msgspec.structs.replace(self, base=self.sequences, quantise=None, options={})

    def not_applicable(self, info: ModelInfo) -> str | None:
        """Return the reason why the recipe does not apply to a model, or None."""
        return next((reason for need in self.needs if (reason := _UNMET[need](info)) is not None), None)


def _lstm(info: ModelInfo) -> str | None:
    return info.not_fused if info.recurrent else "the model has no LSTM"


def _no_loops(info: ModelInfo) -> str | None:
    return "loops cannot be quantised; use the fused form" if info.recurrent else None


def _no_sequences(info: ModelInfo) -> str | None:
    skipped = ", ".join([*info.recurrent, *info.embeddings])
    return f"the quantiser skips {skipped}" if skipped else None


def _no_convolutions(info: ModelInfo) -> str | None:
    # Source: ONNX Runtime's documentation, "Quantize ONNX models": dynamic for RNN and transformers, static for CNN.
    return "dynamically quantised convolutions are slower than float ones" if info.convolutions else None


_UNMET: dict[Need, Callable[[ModelInfo], str | None]] = {
    "lstm": _lstm,
    "no loops": _no_loops,
    "no sequences": _no_sequences,
    "no convolutions": _no_convolutions,
}


@cache
def recipes() -> dict[str, Recipe]:
    """Return all recipes by name, in file order."""
    import tomllib

    rows = tomllib.loads(files("orilla.export").joinpath("recipes.toml").read_text())
    return {name: msgspec.convert(row, Recipe) for name, row in rows.items()}


def select(text: str) -> dict[str, Recipe]:
    """Return recipes for `all`, `fast` or names separated by commas. Raises `ConfigError` for an unknown name."""
    known = recipes()
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        msg = f"recipes={text!r}: choose from all, fast, {', '.join(known)}"
        raise ConfigError(msg)
    selected: dict[str, Recipe] = {}
    for name in names:
        if name in GROUPS:
            selected |= {key: recipe for key, recipe in known.items() if recipe.fast or name == "all"}
        elif name in known:
            selected[name] = known[name]
        else:
            raise unknown_name(name, [*GROUPS, *known], kind="recipe")
    return selected
