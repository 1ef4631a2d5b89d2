"""The option `--engines` of `orilla layers`: show where two engines differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError
from orilla.devices.names import counted
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.commands.tables import print_tables
from orilla.runtime.engines.registry import known
from orilla.runtime.tflite.names import short_name

if TYPE_CHECKING:
    from orilla.export.layers.engine_map import EngineMap, MappedLayer
    from orilla.export.layers.trace import Trace
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.bundle.manifest import Manifest, Variant
    from orilla.runtime.preprocessing.input_kind import ModelInput
    from orilla.runtime.terminal.console import ResultConsole

REFERENCE = "reference"
"""Name of LiteRT's own kernels, without XNNPACK."""

SHOWN = 15
"""Number of layers in the table. `--all` shows every layer."""

HEADER = ["layer", "operator", "operator there", "difference", "largest", "steps"]


@dataclass(frozen=True, slots=True)
class EngineMapResult(CommandResult):
    """Result of `orilla layers --engines`."""

    hidden = ("every", "as_markdown")

    bundle: str
    engine: str
    """The engine with which the other engines are compared."""
    variant: str
    samples: int
    maps: list[EngineMap]
    """The comparison with each other engine."""
    first: list[str | None]
    """For each comparison, the first tensor that differs, or None."""
    every: bool
    """If True, the table shows every layer."""
    as_markdown: bool

    def render(self, console: ResultConsole) -> None:
        """Print, for each engine, the first layer that differs and the largest differences."""
        tables, lines = [], []
        for found in self.maps:
            worst = sorted(found.layers, key=lambda layer: -layer.difference)[: None if self.every else SHOWN]
            shown = [layer for layer in found.layers if layer in worst or layer == found.first]
            title = (
                f"{self.bundle}: {found.variant} on {found.engine} compared with {self.variant} on {self.engine}, "
                f"{counted(self.samples, 'sample')}"
            )
            tables.append((title, HEADER, [_row(layer) for layer in shown]))
            lines += _lines(found, self.engine, len(shown))
        print_tables(console, tables, lines, as_markdown=self.as_markdown, text_columns=3)


def _row(layer: MappedLayer) -> list[str]:
    return [
        short_name(layer.tensor),
        layer.operator,
        layer.other_operator,
        f"{100 * layer.difference:.3f} %" + (" !" if layer.differs else "  "),
        f"{layer.largest:.4g}",
        "" if layer.steps is None else f"{layer.steps:.1f}",
    ]


def _lines(found: EngineMap, engine: str, shown: int) -> list[str]:
    from orilla.export.layers.engine_map import FLOAT_TOLERANCE, STEPS

    first = found.first
    if first is None:
        lines = [
            f"{found.engine}: no layer differs by more than {STEPS:g} steps, or {100 * FLOAT_TOLERANCE:g} % in float"
        ]
    else:
        lines = [
            f"{found.engine}: the first layer that differs is {short_name(first.tensor)} ({first.operator}), by "
            f"{100 * first.difference:.2f} %, at most {first.largest:.4g}"
            + (f" or {first.steps:.1f} steps" if first.steps is not None else "")
        ]
    lines.append(
        "difference: root mean square, relative to the values   steps: the largest difference in quantisation steps   "
        f"!: more than {STEPS:g} steps, or {100 * FLOAT_TOLERANCE:g} % in float"
    )
    if shown < len(found.layers):
        lines.append(f"{len(found.layers) - shown} layers that differ less are not shown: use --all")
    if found.unmatched:
        lines.append(f"{found.unmatched} layers of {engine} have no equal on {found.engine}")
    return lines


def engines_of(text: str) -> list[str]:
    """Return the engines of `--engines`. Raise `ConfigError` if one cannot be traced, or if there is only one."""
    engines = list(dict.fromkeys(text.split(",")))
    if len(engines) < 2:
        msg = f"--engines {text}: give at least two engines, for example litert,onnx"
        raise ConfigError(msg)
    for engine in engines:
        if engine not in (REFERENCE, "litert") and known(engine).options.get("provider") is None:
            msg = f"--engines {engine}: choose from litert, {REFERENCE}, and the engines whose names begin with onnx"
            raise ConfigError(msg)
    return engines


def map_engines(
    bundle: Bundle, engines: Sequence[str], variant: str | None, samples: Iterable[ModelInput]
) -> tuple[str, list[EngineMap], int]:
    """Compare the first engine with each of the others.

    Returns:
        The variant of the first engine, the comparisons, and the number of samples.

    Raises:
        ConfigError: The bundle has no variant of the same precision for an engine.
        EngineError: An engine is not installed, or cannot run its variant.
    """
    from orilla.export.layers.engine_map import map_layers

    chosen = bundle.manifest.variant(variant or bundle.manifest.default)
    variants = [_counterpart(bundle.manifest, chosen, engine) for engine in engines]
    every = list(samples)
    first = _trace(bundle, variants[0], engines[0])
    maps = [
        map_layers(engine, other.name, (first, _trace(bundle, other, engine)), every)
        for engine, other in zip(engines[1:], variants[1:], strict=True)
    ]
    return variants[0].name, maps, len(every)


def _counterpart(manifest: Manifest, variant: Variant, engine: str) -> Variant:
    """Return the variant with the same precision as `variant`, in the format that the engine runs."""
    format_ = "tflite" if engine == REFERENCE else known(engine).format
    if variant.format == format_:
        return variant
    precision = variant.name.partition("_")[2]
    for other in manifest.variants:
        if other.format == format_ and other.name.partition("_")[2] == precision:
            return other
    kind = "litert" if format_ == "tflite" else "onnx"
    msg = (
        f"the bundle has no variant for the engine {engine} that corresponds to {variant.name}: export it with "
        f"--recipes {variant.name},{kind}_{precision}, or choose another --variant"
    )
    raise ConfigError(msg)


def _trace(bundle: Bundle, variant: Variant, engine: str) -> Trace:
    from orilla.export.layers import litert_trace, onnx_trace
    from orilla.runtime.engines.loader import binding_of

    data, binding = bundle.read(variant.file), binding_of(bundle.manifest, variant)
    if engine == REFERENCE:
        return litert_trace.open_trace(data, binding)
    if engine == "litert":
        return litert_trace.open_delegated(data, binding)
    return onnx_trace.open_trace(data, binding, known(engine).options["provider"])
