"""The command `orilla import`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError
from orilla.export.cli import (
    ExportResult,
    add_data_arguments,
    add_foreign_arguments,
    check_options,
    exported,
    sizes_of,
)
from orilla.export.imports.recipes import DEFAULT
from orilla.export.imports.registry import IMPORTERS, importer_for
from orilla.export.recipe import recipes
from orilla.export.wrong_model import check_importable
from orilla.runtime.bundle.destination import add_overwrite
from orilla.runtime.commands.lazy_help import lazy_help

if TYPE_CHECKING:
    from orilla.export.model_hints import ModelHints


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `orilla import` to the parser."""
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
        default=DEFAULT,
        help="recipes to build in addition to a copy of the file: all, fast, or comma-separated names: "
        f"{','.join(recipes())} (default: with --calibration, int8 in the format of the file)",
    )
    parser.add_argument(
        "--max-drop",
        type=float,
        default=1.0,
        help="largest drop of accuracy that is allowed for the default variant, in points (default: 1)",
    )
    parser.add_argument(
        "--no-timing",
        dest="timing",
        action="store_false",
        help="do not measure latency, so that repeated imports of the same model give identical bundles",
    )
    model = parser.add_argument_group("facts that the file does not contain")
    add_foreign_arguments(model, vocabulary=False)
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
    group.add_argument("--mean", metavar="N[,N,N]", help="mean of the training images in grey levels 0-255")
    group.add_argument(
        "--std", metavar="N[,N,N]", help="standard deviation in grey levels; the network takes (pixel - mean) / std"
    )
    group.add_argument("--layout", help="order of the axes of the input: NHWC or NCHW")
    group.add_argument("--input-kind", help="kind of the input, image or tensor; needed only if its shape fits both")
    group.add_argument("--resize", help="how images are resized to the input: stretch, letterbox, crop or none")
    group.add_argument("--interpolation", help="interpolation method, such as linear or pil-bilinear")
    group.add_argument("--fill", type=int, help="value of a letterbox's border, 0-255 (default: 0)")
    group.add_argument("--anchor", help="position of the image in a letterbox: center or top-left (default: center)")
    group.add_argument("--rounding", help="how the size of the image in a letterbox is rounded: nearest or down")
    group.add_argument(
        "--crop-fraction", type=float, help="part of the shorter side that a crop keeps, such as 0.875 (default: 1)"
    )


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
    check_options(arguments)
    check_importable(arguments.model, importer_for(arguments.model))
    return exported(arguments, _hints(arguments))


def _hints(arguments: argparse.Namespace) -> ModelHints:
    from orilla.export.model_hints import ModelHints

    return ModelHints(
        task=arguments.task,
        labels=arguments.labels,
        encoding=arguments.encoding,
        input_range=arguments.input_range,
        color=arguments.color,
        input=sizes_of(arguments.input),
        mean=_numbers("mean", arguments.mean),
        std=_numbers("std", arguments.std),
        layout=arguments.layout,
        input_kind=arguments.input_kind,
        resize=arguments.resize,
        interpolation=arguments.interpolation,
        fill=arguments.fill,
        anchor=arguments.anchor,
        rounding=arguments.rounding,
        crop_fraction=arguments.crop_fraction,
        head=arguments.head,
        multi_label=arguments.multi_label,
    )


def _numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    if not re.fullmatch(r"-?\d+(\.\d+)?(,-?\d+(\.\d+)?)*", text):
        msg = f"--{name} {text}: give one number, or one for each channel as in 123.7,116.3,103.5"
        raise ConfigError(msg)
    return tuple(map(float, text.split(",")))
