"""The command `orilla layers`: show in which layers a quantised variant loses accuracy."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError, DataError
from orilla.devices.names import counted
from orilla.export.layers.map_command import EngineMapResult, engines_of, map_engines
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.commands.tables import print_tables
from orilla.runtime.tflite.names import short_name

if TYPE_CHECKING:
    from orilla.export.layers.report import Layer, LayerReport
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.bundle.manifest import Manifest, Variant
    from orilla.runtime.preprocessing.input_kind import ModelInput
    from orilla.runtime.terminal.console import ResultConsole

SHOWN = 15
"""Number of layers in the table. `--all` shows every layer."""

MAX_CAUSES = 8
"""Maximum number of causes that are printed."""

HEADER = ["layer", "operator", "remark", "SQNR dB", "alone dB", "lost", "added", "range", "calibrated"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `orilla layers` to the parser."""
    parser.add_argument("bundle", help="path of a bundle with a float32 variant and quantised variants")
    parser.add_argument(
        "--variant", help="quantised variant (default: the default variant, or else the first quantised one)"
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="samples on which the layers are compared: a data set of `orilla train` or a folder of images (default: "
        "the golden samples of the bundle)",
    )
    parser.add_argument(
        "--samples", type=int, default=16, metavar="N", help="maximum number of samples of --data (default: 16)"
    )
    parser.add_argument(
        "--engines",
        metavar="ENGINE,ENGINE",
        help="compare a variant on these engines instead, and find the first layer at which they differ: litert, onnx, "
        "other engines that begin with onnx, or reference (LiteRT without XNNPACK)",
    )
    parser.add_argument(
        "--all", dest="every", action="store_true", help=f"show every layer, not only the {SHOWN} worst"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")


@dataclass(frozen=True, slots=True)
class LayersResult(CommandResult):
    """Result of `orilla layers`: the comparison of each layer, and the layers that explain the loss."""

    hidden = ("every", "as_markdown")

    bundle: str
    variant: str
    original: str
    """Name of the float variant with which the variant is compared."""
    samples: int
    layers: list[Layer]
    causes: list[str]
    """Names of the tensors that explain most of the loss, starting with the largest cause."""
    every: bool
    """If True, the table shows every layer."""
    as_markdown: bool

    def render(self, console: ResultConsole) -> None:
        """Print the layers with the largest losses in the order of the network, and the causes."""
        shown = sorted(self.layers, key=lambda layer: -layer.added)[: len(self.layers) if self.every else SHOWN]
        rows = [layer_row(layer) for layer in self.layers if layer in shown]
        title = f"{self.bundle}: {self.variant} compared with {self.original}, {counted(self.samples, 'sample')}"
        lines = [
            "SQNR: with the errors of all layers before   alone: only this layer is rounded   lost: noise / signal, "
            "mean over the channels   added: part of `lost` that arises in this layer"
        ]
        if len(rows) < len(self.layers):
            lines.append(f"{len(self.layers) - len(rows)} layers that add less are not shown: use --all")
        by_name = {layer.tensor: layer for layer in self.layers}
        lines += [f"cause: {cause_line(by_name[name])}" for name in self.causes[:MAX_CAUSES]]
        if len(self.causes) > MAX_CAUSES:
            lines.append(f"{len(self.causes) - MAX_CAUSES} more layers explain the loss, so it has no single cause")
        if not self.causes:
            lines.append("no layer loses a noticeable part of its signal")
        print_tables(console, [(title, HEADER, rows)], lines, as_markdown=self.as_markdown, text_columns=3)


def layer_row(layer: Layer) -> list[str]:
    """Return the cells of a layer, in the order of `HEADER`."""
    return [
        short_name(layer.tensor),
        layer.operator,
        layer.remark,
        _number(layer.sqnr_db),
        "float" if layer.span is None else _number(layer.rounding_db),
        f"{100 * layer.lost:.1f} %",
        f"{100 * layer.added:.1f} %",
        f"{layer.low:.4g} .. {layer.high:.4g}",
        "" if layer.span is None else f"{layer.span[0]:.4g} .. {layer.span[1]:.4g}",
    ]


def _number(decibels: float | None) -> str:
    return "exact" if decibels is None else f"{decibels:.1f}"


def cause_line(layer: Layer) -> str:
    """Return a line with the error that a layer adds, and the probable reason."""
    remark = f"; {layer.remark}" if layer.remark else ""
    return f"{short_name(layer.tensor)} ({layer.operator}) adds {100 * layer.added:.1f} %{remark}"


def execute(arguments: argparse.Namespace) -> LayersResult | EngineMapResult:
    """Compare the layers of two variants of a bundle, or of one variant on several engines."""
    from orilla.runtime.bundle.bundle import Bundle

    if arguments.samples < 1:
        msg = f"--samples {arguments.samples}: must be 1 or more"
        raise ConfigError(msg)
    engines = [] if arguments.engines is None else engines_of(arguments.engines)
    bundle = Bundle.open(arguments.bundle)
    if engines:
        spec, count = arguments.data, arguments.samples
        samples = _golden(bundle) if spec is None else _samples(bundle, spec, count)
        name, maps, used = map_engines(bundle, engines, arguments.variant, samples)
        return EngineMapResult(
            bundle=str(bundle.path),
            engine=engines[0],
            variant=name,
            samples=used,
            maps=maps,
            first=[None if found.first is None else found.first.tensor for found in maps],
            every=arguments.every,
            as_markdown=arguments.markdown,
        )
    variant, original, report = compare_layers(bundle, arguments.variant, arguments.data, arguments.samples)
    return LayersResult(
        bundle=str(bundle.path),
        variant=variant.name,
        original=original.name,
        samples=report.samples,
        layers=list(report.layers),
        causes=list(report.causes),
        every=arguments.every,
        as_markdown=arguments.markdown,
    )


def compare_layers(
    bundle: Bundle, name: str | None, data: str | None, count: int
) -> tuple[Variant, Variant, LayerReport]:
    """Compare the layers of a quantised variant with those of the float variant of the same format.

    Args:
        bundle: The bundle.
        name: Name of the quantised variant. If None, the default variant or else the first quantised one.
        data: Samples. If None, the golden samples.
        count: Maximum number of samples of `data`.

    Returns:
        The quantised variant, the float variant, and the comparison.

    Raises:
        ConfigError: One of the variants is missing.
    """
    from orilla.export.layers.report import layer_report
    from orilla.export.layers.trace import open_trace
    from orilla.runtime.engines.loader import binding_of

    variant, original = _variants(bundle.manifest, name)
    traces = [
        open_trace(chosen.format, bundle.read(chosen.file), binding_of(bundle.manifest, chosen))
        for chosen in (original, variant)
    ]
    samples = _golden(bundle) if data is None else _samples(bundle, data, count)
    return variant, original, layer_report(traces[0], traces[1], samples)


def _variants(manifest: Manifest, name: str | None) -> tuple[Variant, Variant]:
    """Return the quantised variant and the float variant of the same format. Raises `ConfigError` if one is missing."""
    default = manifest.variant(manifest.default)
    quantised = [variant for variant in (default, *manifest.variants) if not variant.full_precision]
    if name is None and not quantised:
        msg = "the bundle has only float32 variants: export it with --recipes litert_fp32,litert_wi8_ai8"
        raise ConfigError(msg)
    chosen = quantised[0] if name is None else manifest.variant(name)
    if chosen.full_precision:
        msg = f"--variant {chosen.name}: this variant is not quantised"
        raise ConfigError(msg)
    for variant in manifest.variants:
        if variant.full_precision and variant.format == chosen.format:
            return chosen, variant
    kind = "litert" if chosen.format == "tflite" else "onnx"
    msg = (
        f"the bundle has no float32 variant with which {chosen.name} can be compared: export it with --recipes "
        f"{kind}_fp32,{chosen.name}"
    )
    raise ConfigError(msg)


def _golden(bundle: Bundle) -> Iterator[ModelInput]:
    from orilla.runtime.bundle.golden import read_frames

    return (frame.prepared for frame in read_frames(bundle))


def _samples(bundle: Bundle, spec: str, count: int) -> Iterator[ModelInput]:
    """Return prepared samples, spread evenly over the data."""
    from orilla.export.data.image_folder import ImageFolder
    from orilla.runtime.evaluation.datasets import open_dataset
    from orilla.runtime.evaluation.datasets.pixel_arrays import as_images
    from orilla.runtime.evaluation.datasets.raw import prepared
    from orilla.runtime.sources.source import image_files

    manifest, preprocessor, folder = bundle.manifest, bundle.preprocessor(), Path(spec)
    if not manifest.preprocess.takes_images:
        dataset = open_dataset(spec)
    elif folder.is_dir() and image_files(folder):
        dataset = ImageFolder(folder, manifest.task)
    else:
        dataset = as_images(open_dataset(spec))
    if not dataset.splits:
        msg = f"data set {spec} has no samples"
        raise DataError(msg)
    split = dataset.check_split
    total = len(dataset.names(split))
    used = min(total, count)
    return (prepared(dataset.load(split, index * total // used), preprocessor) for index in range(used))
