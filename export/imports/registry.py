"""The table of importers, which read model files that other tools wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orilla.devices.plugins import Registry


@dataclass(frozen=True, slots=True)
class Importer:
    """A reader of a file format. Its functions run in a separate process, because a file may crash the parser."""

    suffixes: tuple[str, ...]
    """Suffixes of the files, with the dot."""
    describe: str
    """Function `describe(model, out, sizes)` in the form `module:function`. It writes a `ForeignModel` to the path
    `out`. `sizes` are the sizes of input axes that the model does not fix."""
    copy: str
    """Function `copy(model, out, sizes)`. It writes the model for one sample, with fixed sizes, in the same format."""
    conversions: dict[str, str]
    """For each other format, the function `convert(model, out)` that converts a file that `copy` wrote."""
    packages: tuple[str, ...]
    """Packages that must be installed."""


BUILT_IN: dict[str, Importer | str] = {
    "tflite": Importer(
        (".tflite", ".lite"),
        "orilla.export.imports.tflite_file:describe",
        "orilla.export.imports.tflite_file:copy",
        {},
        ("ai_edge_litert", "litert_quantizer"),
    ),
    "onnx": Importer(
        (".onnx",),
        "orilla.export.imports.onnx_file:describe",
        "orilla.export.imports.onnx_file:copy",
        {"tflite": "orilla.export.imports.onnx_litert:convert"},
        ("onnx", "onnxruntime"),
    ),
}
"""The importers that are part of Orilla, by the format of the files."""

IMPORTERS: Registry[Importer] = Registry("importer", "orilla.importers", Importer, BUILT_IN)
"""The importers by file format. Packages add importers in the group `orilla.importers`."""


def importer_for(path: Path) -> str | None:
    """Return the format of a model file by its suffix, or None if no importer reads it."""
    suffix = path.suffix.lower()
    return next((name for name, importer in IMPORTERS.items() if suffix in importer.suffixes), None)
