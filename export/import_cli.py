"""The command `orilla import`."""

from __future__ import annotations

import argparse
from pathlib import Path

from orilla.export.cli import (
    add_data_arguments,
    add_foreign_arguments,
    add_image_arguments,
    add_search_arguments,
    check_options,
    exported,
    hints_of,
)
from orilla.export.imports.registry import IMPORTERS, importer_for
from orilla.export.recipe import IMPORT_DEFAULT, recipes
from orilla.export.result import ExportResult
from orilla.runtime.bundle.destination import add_overwrite
from orilla.runtime.commands.lazy_help import lazy_help


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `orilla import` to the parser."""
    parser.set_defaults(target="all")  # An import keeps the copy of the file, and every variant that the user asks for.
    lazy_help(
        parser.add_argument("model", type=Path, metavar="MODEL"),
        lambda: (
            f"{IMPORTERS.described(lambda _, importer: importer.suffixes[0], ' or ')} file; or MODULE:OBJECT for a "
            "PyTorch network, or a class or function without arguments that returns one"
        ),
    )
    parser.add_argument("--out", type=Path, required=True, help="bundle to write, either a .orilla file or a folder")
    add_overwrite(parser)
    parser.add_argument(
        "--recipes",
        default=IMPORT_DEFAULT,
        help="recipes to build in addition to a copy of the file: all, fast, or comma-separated names: "
        f"{', '.join(recipes())} (default: with --calibration, int8 in the format of the file)",
    )
    add_search_arguments(parser)
    parser.add_argument(
        "--no-timing",
        dest="timing",
        action="store_false",
        help="do not measure latency, so that repeated imports of the same model give identical bundles",
    )
    model = parser.add_argument_group("facts that the file does not contain")
    add_foreign_arguments(model, vocabulary=False)
    add_image_arguments(model)
    _add_input_arguments(model)
    _add_output_arguments(model)
    add_data_arguments(
        parser.add_argument_group(
            "data",
            "DATA is a data set of `orilla train`, a folder of images, or a .npz file with an array x and optionally "
            "an array y. "
            "Without data, an image model is compared on computer-generated road scenes.",
        )
    )


def _add_input_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--layout", help="order of the axes of the input: NHWC or NCHW")
    group.add_argument("--input-kind", help="kind of the input, image or tensor; needed only if its shape fits both")


def _add_output_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--head",
        metavar="LAYOUT[:OPTIONS]",
        help="layout of a detector's outputs, such as yolo_objectness:encoding=yolox; needed only if it is not "
        "recognised",
    )
    group.add_argument(
        "--multi-label",
        action="store_const",
        const=True,
        help="several classes can apply to one sample, so the probabilities of the classes are independent",
    )


def execute(arguments: argparse.Namespace) -> ExportResult:
    """Import a model as a bundle."""
    from orilla.export.wrong_model import check_importable

    check_options(arguments)
    check_importable(arguments.model, importer_for(arguments.model))
    return exported(arguments, hints_of(arguments))
