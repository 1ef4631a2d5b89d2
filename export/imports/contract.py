"""Checks that every importer must pass. A test calls each of `CHECKS` with an `ImporterCase`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orilla.devices.plugins import imported
from orilla.export.imports import foreign
from orilla.export.imports.registry import IMPORTERS, Importer, importer_for
from orilla.runtime.engines import loader
from orilla.runtime.engines.registry import default_engine

DAMAGED = (b"", b"not a model", b"\0" * 4096)
"""Contents of files that no importer can read."""


@dataclass(frozen=True, slots=True)
class ImporterCase:
    """An importer, and a small model file with inputs of fixed sizes."""

    name: str
    """Name of the importer."""
    file: Path
    folder: Path
    """An empty folder."""

    @property
    def importer(self) -> Importer:
        """Return the importer."""
        return IMPORTERS.find(self.name)

    def describe(self) -> foreign.ForeignModel:
        """Return the description of the file."""
        out = self.folder / "model.json"
        _call(self.importer.describe, self.file, out)
        return foreign.read(out)


def reads_files_with_its_suffixes(case: ImporterCase) -> None:
    """Each suffix begins with a dot, and selects this importer."""
    assert case.importer.suffixes
    for suffix in case.importer.suffixes:
        assert suffix.startswith("."), f"the suffix {suffix!r} does not begin with a dot"
        assert importer_for(Path(f"model{suffix}")) == case.name, f"another importer reads {suffix} files"


def describes_the_model(case: ImporterCase) -> None:
    """The description states the format, inputs and outputs."""
    model = case.describe()
    assert default_engine(model.format)
    for side in (model.inputs, model.outputs):
        assert side, "the model has no inputs or no outputs"
        assert len({tensor.name for tensor in side}) == len(side), "two tensors have the same name"
        for tensor in side:
            assert np.dtype(tensor.dtype).kind in "iufb", f"{tensor.name} has type {tensor.dtype}"
    assert model.parameters >= 0


def copies_a_model_that_runs(case: ImporterCase) -> None:
    """The copy runs on the engine of its format, and has the inputs and outputs of the description."""
    model, out = case.describe(), case.folder / f"copy{case.importer.suffixes[0]}"
    _call(case.importer.copy, case.file, out)
    with closing(loader.load_bytes(default_engine(model.format), out.read_bytes(), threads=1)) as session:
        assert {slot.shape for slot in session.inputs} == {tensor.shape for tensor in model.inputs}
        assert len(session.outputs) == len(model.outputs)


def refers_to_functions_that_exist(case: ImporterCase) -> None:
    """The functions that convert a copy can be imported."""
    for function in case.importer.conversions.values():
        assert callable(imported(function)), f"{function} is not a function"


def rejects_damaged_files(case: ImporterCase) -> None:
    """A file that is not a model raises `ValueError` with one line."""
    path = case.folder / f"damaged{case.importer.suffixes[0]}"
    for content in DAMAGED:
        path.write_bytes(content)
        try:
            _call(case.importer.describe, path, case.folder / "damaged.json")
        except ValueError as error:
            message = str(error)
        else:
            message = "\n"
        assert "\n" not in message, f"{content[:20]!r} was accepted, or the message has several lines"


def _call(function: str, model: Path, out: Path) -> None:
    call = imported(function)
    assert callable(call), f"{function} is not a function"
    call(str(model), str(out), None)


CHECKS: tuple[Callable[[ImporterCase], None], ...] = (
    reads_files_with_its_suffixes,
    describes_the_model,
    copies_a_model_that_runs,
    refers_to_functions_that_exist,
    rejects_damaged_files,
)
"""The checks of an importer."""
