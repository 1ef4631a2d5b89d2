"""The command `orilla export`."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError, MissingExtraError
from orilla.devices.keras_rules import DEVICES
from orilla.export.model_hints import ANY_RANGE, COLORS, INPUT_RANGES, ModelHints
from orilla.export.recipe import GROUPS, recipes
from orilla.export.result import ExportResult, result_of
from orilla.runtime.bundle.destination import add_overwrite, check_new
from orilla.runtime.commands.lazy_help import lazy_help
from orilla.runtime.commands.page_option import add_page, check_page
from orilla.runtime.evaluation.datasets.options import add_arguments as add_reading_arguments
from orilla.runtime.evaluation.datasets.options import options_of, with_options
from orilla.runtime.tasks.registry import TASKS

if TYPE_CHECKING:
    from orilla.export.export import ExportOptions
    from orilla.runtime.bundle.manifest import Manifest

NEEDS = ("tensorflow", "tf2onnx", "onnx", "onnxruntime", "litert_quantizer", "ai_edge_litert")
"""Packages that must be installed, because the converters import them in their own processes."""

MAX_DROP = 1.0
"""Largest accuracy drop of the default variant, in points, if the user states none."""

SEARCH_SECONDS = 600.0
"""Time limit of the search, in seconds, if the user states none."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `orilla export` to the parser."""
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="run folder of `orilla train`, a .keras or .h5 file, or a SavedModel folder",
    )
    parser.add_argument("--out", type=Path, required=True, help="bundle to write, either a .orilla file or a folder")
    add_overwrite(parser)
    parser.add_argument(
        "--recipes",
        help=f"recipes to build: {', '.join(GROUPS)}, or comma-separated names: {', '.join(recipes())} (default: all)",
    )
    parser.add_argument(
        "--for",
        dest="target",
        choices=("robot", "all"),
        help="variants that the bundle keeps. robot: the default, a float32 reference, the best for each other engine, "
        "and those compiled for an accelerator; all: every variant that was built (default: robot, or all if --recipes "
        "is given)",
    )
    add_search_arguments(parser)
    parser.add_argument(
        "--device",
        help="before the conversion, check that this device can run the model, and stop if it cannot; "
        f"known devices: {', '.join(DEVICES)}",
    )
    parser.add_argument(
        "--no-timing",
        dest="timing",
        action="store_false",
        help="do not measure latency, so that repeated exports of the same model give identical bundles",
    )
    add_foreign_arguments(parser.add_argument_group("options for models that Orilla did not train"))
    add_image_arguments(parser.add_argument_group("options for images of such a model"))
    add_data_arguments(
        parser.add_argument_group(
            "data",
            "DATA is a data set of `orilla train`, a folder of images, or a .npz file with an array x and optionally "
            "an array y.",
        )
    )


def add_search_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for the accuracy of the default variant."""
    parser.add_argument(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="largest drop of accuracy that is allowed for the default variant, in points (default: 1). If it is given "
        "and every int8 variant drops by more, search for the int8 variant that keeps the fewest layers in float32; "
        "exit with code 1 if no variant meets it",
    )
    parser.add_argument(
        "--search-seconds",
        type=float,
        metavar="N",
        help=f"time limit for the search of --max-drop, in seconds (default: {SEARCH_SECONDS:g})",
    )
    parser.add_argument(
        "--worst-frames",
        type=Path,
        metavar="FILE.png",
        help="contact sheet to write: the validation images on which int8 and the original model disagree most",
    )
    add_page(parser)
    parser.add_argument(
        "--recalibrate",
        action="store_true",
        help="build another int8 variant with these images in its calibration data, and report the gain on the other "
        "images",
    )


def add_foreign_arguments(foreign: argparse._ArgumentGroup, *, vocabulary: bool = True) -> None:
    """Add the options that describe a model. `vocabulary` adds the option for text models."""
    lazy_help(
        foreign.add_argument("--task"),
        lambda: f"task of the model: {TASKS.described()}; `tensor` is for any model that maps arrays to arrays",
    )
    foreign.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="file with the class names: one per line, numbered lines, or JSON (docs/export.md)",
    )
    foreign.add_argument(
        "--encoding",
        metavar="NAME",
        help="encoding of the files with labels and words, such as cp1252 or gb18030 (default: UTF-8, or what the byte "
        "order mark of the file states)",
    )
    foreign.add_argument(
        "--input",
        metavar="SIZES",
        help="sizes of the input axes that the model leaves open, such as 224x224 or 200. For a PyTorch network given "
        "as MODULE:OBJECT: all sizes of one sample, such as 3x224x224",
    )
    if not vocabulary:
        return
    foreign.add_argument(
        "--vocabulary",
        type=Path,
        metavar="FILE",
        help="file with the vocabulary of a text model: one word per line, a word index, or a Keras Tokenizer as JSON",
    )
    foreign.add_argument(
        "--vocabulary-start",
        type=int,
        metavar="N",
        help="token of the first word in the vocabulary: 1 for a Keras Tokenizer without oov_token, 2 with one, 4 for "
        "keras.datasets.imdb (default: what the file or the model shows, else 3)",
    )
    foreign.add_argument(
        "--padding", help="side on which a short text is padded: pre (its start) or post (default: pre)"
    )
    foreign.add_argument(
        "--truncation", help="side on which a long text is truncated: pre (its start) or post (default: pre)"
    )


def add_image_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options that describe the training images of a model."""
    group.add_argument(
        "--input-range",
        metavar="RANGE",
        help=f"range of the pixel values that the model was trained on: {ANY_RANGE}, such as -0.5..0.5; or one of "
        + "; ".join(f"{name} for {about}" for name, about in INPUT_RANGES.items()),
    )
    group.add_argument(
        "--color",
        "--channels",
        help="colour of the images that the model was trained on; one of: "
        + "; ".join(f"{name} for {about}" for name, about in COLORS.items()),
    )
    group.add_argument(
        "--mean",
        metavar="N[,N,N]",
        help="mean of the training images, one number or one per channel in the order of --color; in grey levels "
        "0-255, or in the units of --input-range if that is given too",
    )
    group.add_argument(
        "--std", metavar="N[,N,N]", help="standard deviation, in the same units; the model takes (pixel - mean) / std"
    )
    group.add_argument(
        "--resize",
        help="how images are resized to the input: stretch, letterbox, crop or none (default: stretch; not for "
        "detectors)",
    )
    group.add_argument(
        "--interpolation",
        help="interpolation method, such as linear, keras-bilinear or pil-bilinear (docs/bundle-format.md)",
    )
    group.add_argument("--fill", type=int, help="value of a letterbox's border, 0-255 (default: 0)")
    group.add_argument("--anchor", help="position of the image in a letterbox: center or top-left (default: center)")
    group.add_argument("--rounding", help="how the size of the image in a letterbox is rounded: nearest or down")
    group.add_argument(
        "--crop-fraction", type=float, help="share of the shorter side that a crop keeps, such as 0.875 (default: 1)"
    )


def add_data_arguments(data: argparse._ArgumentGroup) -> None:
    """Add the options for the data of an export."""
    data.add_argument(
        "--calibration",
        metavar="DATA",
        help="calibration data for the quantisation (default: the data set of the run folder)",
    )
    add_reading_arguments(data, encoding=False)
    data.add_argument("--calibration-count", type=int, default=100, help="number of calibration samples (default: 100)")
    data.add_argument(
        "--add-calibration",
        metavar="DATA",
        help="samples that are all added to the calibration, such as the folder of orilla run --shadow-keep",
    )
    data.add_argument(
        "--validation",
        metavar="DATA",
        help="data on which each variant is compared with the original model (default: the data set of the run folder "
        "or, without a run folder, a part of the calibration data)",
    )
    data.add_argument(
        "--validation-count",
        type=int,
        help="maximum number of validation samples, which are spread evenly over the data (default: all samples)",
    )
    data.add_argument(
        "--golden",
        metavar="DATA",
        help="data for the golden samples: a data set such as `scenes`, or a .txt file with one text per line; needed "
        "if the validation data may not be redistributed (default: the validation data)",
    )
    data.add_argument("--golden-count", type=int, default=4, help="number of golden samples (default: 4)")
    data.add_argument(
        "--seed", type=int, default=0, help="random seed for drawing the calibration samples (default: 0)"
    )


def execute(arguments: argparse.Namespace) -> ExportResult:
    """Export a model as a bundle."""
    from orilla.export.wrong_model import check_keras

    check_options(arguments)
    check_keras(arguments.model)
    return exported(arguments, hints_of(arguments))


def exported(arguments: argparse.Namespace, hints: ModelHints) -> ExportResult:
    """Write the bundle, and return its description.

    Args:
        arguments: Arguments of `orilla export` or `orilla import`.
        hints: Facts that the user states about the model.
    """
    from importlib.util import find_spec

    for package in NEEDS:
        if find_spec(package) is None:
            raise MissingExtraError(package, "export")
    from orilla.export.export import export
    from orilla.runtime.terminal.progress import TerminalProgress

    max_drop = MAX_DROP if arguments.max_drop is None else arguments.max_drop
    with TerminalProgress() as progress:
        manifest = export(arguments.model, arguments.out, _options(arguments, hints), progress)
        if arguments.page is not None:
            from orilla.export.page import write_page
            from orilla.runtime.bundle.bundle import Bundle

            write_page(arguments.page, Bundle.open(arguments.out), max_drop, arguments.worst_frames, progress)
    kept = _slim(arguments.out, manifest, max_drop) if _is_for_robot(arguments) else manifest
    result = result_of(manifest, kept, arguments.out, max_drop, required=arguments.max_drop is not None)
    return result if arguments.page is None else replace(result, page=str(arguments.page))


def _is_for_robot(arguments: argparse.Namespace) -> bool:
    """Return True if the bundle keeps only what a robot needs."""
    if arguments.target is None:
        return arguments.recipes is None
    return bool(arguments.target == "robot")


def _slim(out: Path, manifest: Manifest, max_drop: float) -> Manifest:
    """Remove the variants that a robot does not need from a new bundle, and return its manifest."""
    from orilla.export.recommend import for_robot
    from orilla.runtime.bundle import bundle as bundles
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.bundle.slim import slim

    names = for_robot(manifest, max_drop)
    if len(names) == len(manifest.variants):
        return manifest
    kept, files = slim(Bundle.open(out), ",".join(names), None)
    bundles.write(out, kept, files)
    return kept


def _options(arguments: argparse.Namespace, hints: ModelHints) -> ExportOptions:
    from orilla.export.export import ExportOptions

    return ExportOptions(
        recipes=arguments.recipes or "all",
        calibration=_with_columns(arguments.calibration, arguments),
        calibration_count=arguments.calibration_count,
        add_calibration=_with_columns(arguments.add_calibration, arguments),
        validation=_with_columns(arguments.validation, arguments),
        validation_count=arguments.validation_count,
        golden=arguments.golden,
        golden_count=arguments.golden_count,
        seed=arguments.seed,
        max_drop=MAX_DROP if arguments.max_drop is None else arguments.max_drop,
        search_seconds=None if arguments.max_drop is None else arguments.search_seconds or SEARCH_SECONDS,
        worst_frames=arguments.worst_frames,
        recalibrate=arguments.recalibrate,
        timing=arguments.timing,
        overwrite=arguments.overwrite,
        hints=hints,
    )


def _with_columns(spec: str | None, arguments: argparse.Namespace) -> str | None:
    """Return the specification of a data set with the columns, and for a table the encoding, that the user states."""
    if spec is None:
        return None
    from orilla.runtime.evaluation.datasets.tables import SUFFIXES

    options = options_of(arguments)
    is_table = Path(spec.partition("?")[0]).suffix.lower() in SUFFIXES
    return with_options(spec, options if is_table else replace(options, encoding=None))


def check_options(arguments: argparse.Namespace) -> None:
    """Raise `ConfigError` if a number is out of range, or if the bundle exists."""
    for name in ("calibration_count", "validation_count", "golden_count"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            msg = f"--{name.replace('_', '-')} {getattr(arguments, name)}: must be 1 or more"
            raise ConfigError(msg)
    if arguments.max_drop is not None and not 0 <= arguments.max_drop <= 100:
        msg = f"--max-drop {arguments.max_drop}: must be 0 to 100 points"
        raise ConfigError(msg)
    if arguments.search_seconds is not None and (arguments.max_drop is None or not arguments.search_seconds > 0):
        msg = f"--search-seconds {arguments.search_seconds:g}: must be positive, and needs --max-drop"
        raise ConfigError(msg)
    if arguments.worst_frames is not None and arguments.worst_frames.suffix.lower() != ".png":
        msg = f"--worst-frames {arguments.worst_frames}: the name must end in .png"
        raise ConfigError(msg)
    if arguments.page is not None:
        check_page(arguments.page)
    if arguments.seed < 0:
        msg = f"--seed {arguments.seed}: must be 0 or more"
        raise ConfigError(msg)
    check_new(arguments.out, overwrite=arguments.overwrite)


def hints_of(arguments: argparse.Namespace) -> ModelHints:
    """Return the facts that the options state about a model. Raise `ConfigError` if a number cannot be read."""
    stated = {field.name: vars(arguments).get(field.name) for field in fields(ModelHints)}
    stated["input"] = sizes_of(arguments.input)
    for name in ("mean", "std"):
        stated[name] = _numbers(name, stated[name])
    return ModelHints(**stated)


def _numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        numbers = tuple(map(float, text.split(",")))
    except ValueError as error:
        msg = f"--{name} {text}: give one number, or one for each channel as in 123.7,116.3,103.5"
        raise ConfigError(msg) from error
    return numbers


def sizes_of(text: str | None) -> tuple[int, ...] | None:
    """Return the sizes in a string such as `224x224`, or None. Raise `ConfigError` if the string is malformed."""
    if text is None:
        return None
    if not re.fullmatch(r"[1-9]\d{0,4}(x[1-9]\d{0,4}){0,2}", text):
        msg = f"--input {text}: give height and width as in 224x224, a length as in 200, or three sizes as in 3x224x224"
        raise ConfigError(msg)
    return tuple(map(int, text.split("x")))
