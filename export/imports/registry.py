"""The table of importers, which read model files that other tools wrote."""

from __future__ import annotations

import re
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
    """Function `copy(model, out, sizes)`. It writes the model for one sample, with fixed sizes, in the format that the
    description states."""
    conversions: dict[str, str]
    """For each further format, the function `convert(model, out)` that converts a file that `copy` wrote."""
    packages: tuple[str, ...]
    """Packages that must be installed."""
    objects: bool = False
    """True if the functions also take an object from a Python module, in the form `module:object`."""


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
    "torch": Importer(
        (".pt2", ".pt", ".pth"),
        "orilla.export.imports.torch_program:describe",
        "orilla.export.imports.torch_program:copy",
        {},
        ("onnx", "onnxruntime"),
        objects=True,
    ),
}
"""The importers that are part of Orilla, by the format of the files."""

IMPORTERS: Registry[Importer] = Registry("importer", "orilla.importers", Importer, BUILT_IN)
"""The importers by file format. Packages add importers in the group `orilla.importers`."""


OBJECT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
"""An object from a Python module, such as `torchvision.models:resnet18`."""


def is_import_path(model: str) -> bool:
    """Return True for an object from a Python module, in the form `module:object`."""
    return OBJECT.fullmatch(model) is not None


def importer_for(path: Path) -> str | None:
    """Return the name of the importer for a file, by its suffix, or for an object `module:object`.

    Return None if no importer reads it.
    """
    suffix, is_object = path.suffix.lower(), is_import_path(str(path))
    return next(
        (
            name
            for name, importer in IMPORTERS.items()
            if (importer.objects if is_object else suffix in importer.suffixes)
        ),
        None,
    )
