"""Build one model file per recipe. Recipes with the same base share one conversion of the Keras model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orilla.devices.errors import BundleError, ConversionError
from orilla.devices.progress import Progress
from orilla.export.convert import fork_server
from orilla.export.recipe import COMPACT, SUFFIXES, Recipe
from orilla.export.workspace import Workspace


@dataclass
class Builder:
    """Builds the variants of one model.

    Args:
        model: Path of the model file that the converters load.
        work: Workspace of the export. It contains the calibration samples if a recipe needs them.
        progress: Receives the progress.
    """

    model: Path
    work: Workspace
    progress: Progress
    _bases: dict[str, Path | ConversionError] = field(default_factory=dict)

    def build(self, recipes: dict[str, Recipe]) -> tuple[dict[str, bytes], dict[str, str]]:
        """Build the model file of each recipe. A recipe that fails does not stop the others.

        Returns:
            A dictionary with the content of each model file, and a dictionary with the reason why a recipe failed. The
            keys of both are names of recipes.
        """
        models: dict[str, bytes] = {}
        failed: dict[str, str] = {}
        for number, (name, recipe) in enumerate(recipes.items(), 1):
            self.progress.status(f"building variant {number} of {len(recipes)}: {name}")
            try:
                data = self._variant(name, recipe).read_bytes()
                models[name] = data if recipe.verbatim else _smaller(data, recipe)
            except ConversionError as error:
                failed[name] = str(error)
        return models, failed

    def _variant(self, name: str, recipe: Recipe) -> Path:
        base = self.base(recipe)
        if recipe.quantise is None:
            return base
        out = self.work.variant(name, SUFFIXES[recipe.format])
        extra: dict[str, Any] = {"calibration": str(self.work.calibration)} if recipe.calibrated else {}
        extra |= recipe.options
        fork_server.call(recipe.quantise, source=str(base), out=str(out), **extra)
        return out

    def base(self, recipe: Recipe) -> Path:
        """Return the converted file that a recipe starts from. Raises `ConversionError` if the conversion failed."""
        if recipe.base not in self._bases:
            out = self.work.base(len(self._bases), SUFFIXES[recipe.format])
            # A base function that also quantises needs the calibration samples.
            quantises = recipe.calibrated and recipe.quantise is None
            extra = {"calibration": str(self.work.calibration)} if quantises else {}
            try:
                fork_server.call(recipe.base, model=str(self.model), out=str(out), **extra)
                self._bases[recipe.base] = out
            except ConversionError as error:
                self._bases[recipe.base] = error
        base = self._bases[recipe.base]
        if isinstance(base, ConversionError):
            raise base
        return base


def _smaller(data: bytes, recipe: Recipe) -> bytes:
    """Return a smaller file with the same network. If the file cannot be rewritten, return it unchanged."""
    compact = COMPACT.get(recipe.format)
    if compact is None:
        return data
    try:
        return compact(data)
    except BundleError:
        return data
