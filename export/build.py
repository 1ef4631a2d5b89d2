"""Build model files by recipe. Each base is converted once, and quantised once per recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from orilla.devices.errors import BundleError, ConversionError
from orilla.export import samples
from orilla.export.convert import fork_server
from orilla.export.recipe import SUFFIXES, Recipe
from orilla.export.samples import SampleSet
from orilla.export.source_model import SourceModel
from orilla.export.workspace import Workspace
from orilla.runtime.tflite.rewrite import rewritten


def make(
    source: SourceModel,
    fitting: dict[str, Recipe],
    seen: SampleSet | None,
    work: Workspace,
    failed: dict[str, str],
    step: Callable[[str], None],
) -> dict[str, bytes]:
    """Build the file of each recipe.

    A recipe that fails is recorded in `failed` with its reason, and the others continue.
    """
    if seen is not None:
        samples.save_calibration(seen, source, work.calibration)
    bases: dict[str, Path | ConversionError] = {}
    made: dict[str, bytes] = {}
    for name, recipe in fitting.items():
        step(f"making {name}")
        if recipe.base not in bases:
            bases[recipe.base] = _base(recipe, source.model, work, len(bases))
        base = bases[recipe.base]
        if isinstance(base, ConversionError):
            failed[name] = str(base)
            continue
        try:
            data = _variant(name, recipe, base, work).read_bytes()
            made[name] = _smaller(data) if recipe.engine == "litert" else data
        except ConversionError as error:
            failed[name] = str(error)
    return made


def _smaller(data: bytes) -> bytes:
    try:
        return rewritten(data)
    except BundleError:  # the original bytes are just as good
        return data


def _base(recipe: Recipe, model: Path, work: Workspace, number: int) -> Path | ConversionError:
    out = work.base(number, SUFFIXES[recipe.engine])
    # A base that quantises reads the calibration samples itself.
    extra = {"calibration": str(work.calibration)} if recipe.calibrated and recipe.quantise is None else {}
    try:
        fork_server.call(recipe.base, model=str(model), out=str(out), **extra)
    except ConversionError as error:
        return error
    return out


def _variant(name: str, recipe: Recipe, base: Path, work: Workspace) -> Path:
    if recipe.quantise is None:
        return base
    out = work.variant(name, SUFFIXES[recipe.engine])
    extra: dict[str, str] = dict(recipe.options)
    if recipe.calibrated:
        extra["calibration"] = str(work.calibration)
    fork_server.call(recipe.quantise, source=str(base), out=str(out), **extra)
    return out
