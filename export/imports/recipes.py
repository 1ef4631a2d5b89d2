"""Choose the recipes of an imported model: an unchanged copy of the file, and the recipes that quantise it."""

from __future__ import annotations

import msgspec

from orilla.devices.errors import ConfigError
from orilla.export.imports.foreign import ForeignModel
from orilla.export.imports.registry import IMPORTERS
from orilla.export.recipe import IMPORT_DEFAULT, Recipe, select
from orilla.runtime.engines.registry import default_engine

PLAIN_BASES = ("orilla.export.convert.keras_litert:convert", "orilla.export.convert.keras_onnx:convert")
"""Functions that only convert a Keras model. For an imported float file, recipes with such a base start from the file
itself."""


def imported_recipes(
    model: ForeignModel, selection: str, *, calibrated: bool
) -> tuple[dict[str, Recipe], dict[str, str]]:
    """Return the recipes for an imported model by name, and for each other recipe the reason why it does not apply.

    The first recipe is an unchanged copy of the file.

    Args:
        model: The model.
        selection: `IMPORT_DEFAULT`, or a selection as for `recipe.select`.
        calibrated: True if there is calibration data.

    Raises:
        ConfigError: A name is unknown.
    """
    name, recipe = as_is(model)
    if selection == IMPORT_DEFAULT:
        int8 = f"{default_engine(model.format)}_wi8_ai8"
        selection = int8 if calibrated and not _is_quantised(model) else ""
    chosen = select(selection) if selection else {}
    recipes, reasons = {name: recipe}, {}
    for other, candidate in chosen.items():
        adapted = _adapted(candidate, model)
        if isinstance(adapted, str):
            reasons[other] = adapted
        elif adapted.calibrated and not calibrated:
            reasons[other] = "it needs calibration data"
        elif other not in recipes:
            recipes[other] = adapted
    return recipes, {key: reason for key, reason in reasons.items() if key != name}


def as_is(model: ForeignModel) -> tuple[str, Recipe]:
    """Return the name and the recipe of an unchanged copy of the file.

    A float file has the name of the recipe with the same precision. A quantised file is named `ENGINE_original`.
    """
    engine = default_engine(model.format)
    float_names = {"float32": f"{engine}_fp32", "float16": f"{engine}_fp16"}
    name = f"{engine}_original" if model.quantised else float_names.get(model.weights, f"{engine}_original")
    recipe = Recipe(
        format=model.format,
        base=IMPORTERS[model.format].copy,
        weights=model.weights,
        activations=model.activations,
        fast=True,
        verbatim=True,
    )
    return name, recipe


def _adapted(recipe: Recipe, model: ForeignModel) -> Recipe | str:
    """Return the recipe for an imported file instead of a Keras model, or the reason why it does not apply."""
    if _is_quantised(model):
        return "the model is already quantised"
    if recipe.base not in PLAIN_BASES:
        return "it converts a Keras model"
    importer = IMPORTERS[model.format]
    if recipe.format == model.format:
        return msgspec.structs.replace(recipe, base=importer.copy, sequences=None)
    if recipe.format not in importer.conversions:
        return f"a .{model.format} file cannot be converted to {recipe.format}"
    return msgspec.structs.replace(recipe, base=importer.conversions[recipe.format], sequences=None)


def _is_quantised(model: ForeignModel) -> bool:
    """Return True if the activations or weights are integers. Such a model cannot be quantised again."""
    return model.quantised or model.weights.startswith(("int", "uint"))


def check_selection(selection: str) -> None:
    """Raise `ConfigError` if a selection of recipes contains an unknown name."""
    if selection == IMPORT_DEFAULT:
        return
    if not selection.strip():
        msg = f"recipes={selection!r} selects no recipe: use {IMPORT_DEFAULT}, all, fast or names of recipes"
        raise ConfigError(msg)
    select(selection)
