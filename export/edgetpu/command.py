"""The command `orilla edgetpu`: predict which operators of a `.tflite` file Coral's Edge TPU would run."""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError, ConversionError, DataError, neighbour
from orilla.export.edgetpu import compiler
from orilla.runtime.bundle.destination import add_overwrite, check_new
from orilla.runtime.commands.result import CommandResult

if TYPE_CHECKING:
    from orilla.export.edgetpu import prediction
    from orilla.runtime.terminal.console import ResultConsole

KIB, MIB = 1 << 10, 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `orilla edgetpu` to the parser."""
    parser.add_argument("model", help="a .tflite file or a bundle")
    parser.add_argument("--variant", help="variant of the bundle (default: the default variant)")
    parser.add_argument(
        "--out",
        type=Path,
        help="bundle to write: a copy of the bundle with the compiled model added (needs edgetpu_compiler)",
    )
    add_overwrite(parser)
    parser.add_argument(
        "--predict", action="store_true", help="only predict the mapping, even if edgetpu_compiler is on PATH"
    )


@dataclass(frozen=True, slots=True)
class Advice:
    """A rejected operator, and an alternative that would be mapped."""

    index: int
    operator: str
    reason: str
    instead: str


@dataclass(frozen=True, slots=True)
class MappingResult(CommandResult):
    """Result of `orilla edgetpu`: where each operator of a model runs, and how much memory the model needs."""

    optional = ("bundle",)

    model: str
    by: str
    """Origin of the result: `prediction`, or the compiler and its version."""
    operators: int
    mapped: int
    cpu_ops: list[str]
    """Names of the operators that run on the CPU, in graph order."""
    cut_ops: list[str]
    """Names of the operators that would run on the CPU if the graph were split at the first rejected operator."""
    rows: list[tuple[str, int, str]]
    """Operator name, count and status, as in the compiler's log."""
    advice: list[Advice]
    parameter_bytes: int
    cached_bytes: int
    streamed_bytes: int
    streaming_ms: float
    largest_activation_bytes: int
    likely_fails: bool
    bundle: str | None = None
    """Path of the bundle that was written, or None."""

    @property
    def exit_code(self) -> int:
        """Return 1 if an operator stays on the CPU, else 0."""
        return 1 if self.cpu_ops else 0

    def render(self, console: ResultConsole) -> None:
        """Print the table of operators in the compiler's format, the memory sizes and the advice."""
        console.print_line(f"Mapping of {self.model} (by {self.by})")
        console.print_line(f"{'Operator':<30} {'Count':<10} Status\n")
        for name, count, status in self.rows:
            console.print_line(f"{name:<30} {count:<10} {status}")
        time = f" (about {self.streaming_ms:.1f} ms per inference over USB 3)" if self.streamed_bytes else ""
        fails = "; the compiler is likely to fail with an activation of this size" if self.likely_fails else ""
        console.print_line(f"\nNumber of operations that will run on Edge TPU: {self.mapped}")
        console.print_line(f"Number of operations that will run on CPU: {len(self.cpu_ops)}")
        if len(self.cut_ops) != len(self.cpu_ops):
            console.print_line(f"({len(self.cut_ops)} if the graph were cut at the first rejected operator)")
        console.print_line(f"On-chip memory used for caching model parameters: {_size(self.cached_bytes)}")
        streamed = f"{_size(self.streamed_bytes)}{time}"
        console.print_line(f"Off-chip memory used for streaming uncached model parameters: {streamed}")
        console.print_line(f"Largest activation: {_size(self.largest_activation_bytes)}{fails}")
        if self.bundle is not None:
            console.print_line(f"wrote {self.bundle}; next: orilla run {self.bundle} --engine edgetpu")
        for advice in self.advice:
            instead = f"; instead: {advice.instead}" if advice.instead else ""
            console.print_line(f"{advice.index} {advice.operator}: {advice.reason}{instead}")


def execute(arguments: argparse.Namespace) -> MappingResult:
    """Predict the mapping of a model, or run the compiler if it is installed."""
    from orilla.export.edgetpu import prediction

    if arguments.out is not None:
        _check_out(arguments)
    data, name = _model(arguments)
    mapping = prediction.predict(data, name)
    result = MappingResult(
        model=name,
        by="prediction",
        operators=len(mapping.placed),
        mapped=sum(placement.mapped for placement in mapping.placed),
        cpu_ops=mapping.cpu_ops,
        cut_ops=mapping.cut_ops,
        rows=_rows(mapping),
        advice=_advice(mapping),
        parameter_bytes=mapping.parameter_bytes,
        cached_bytes=mapping.cached_bytes,
        streamed_bytes=mapping.streamed_bytes,
        streaming_ms=round(mapping.streaming_ms, 2),
        largest_activation_bytes=mapping.largest_activation,
        likely_fails=mapping.likely_fails,
    )
    if arguments.predict or not compiler.installed():
        return result
    compiled = compiler.compile_model(data)
    result = _with_compiler(result, compiled)
    if arguments.out is None:
        return result
    _write(arguments, compiled)
    return dataclasses.replace(result, bundle=str(arguments.out))


def _with_compiler(predicted: MappingResult, compiled: compiler.Compiled) -> MappingResult:
    """Return the result with the figures of the compiler in place of the predicted figures."""
    from orilla.export.edgetpu import prediction

    on_cpu = [name for name, count, status in compiled.rows if status != prediction.MAPPED for _ in range(count)]
    # The compiler's log lists only how many operators of each type there are. If these counts equal the predicted
    # counts, the predicted list is used, because it is in graph order.
    cpu_ops = predicted.cpu_ops if Counter(predicted.cpu_ops) == Counter(on_cpu) else on_cpu
    result = dataclasses.replace(
        predicted,
        by=f"edgetpu_compiler {compiled.version}",
        rows=list(compiled.rows),
        cpu_ops=cpu_ops,
        cut_ops=cpu_ops,
        mapped=sum(count for _, count, status in compiled.rows if status == prediction.MAPPED),
    )
    if compiled.cached_bytes is None or compiled.streamed_bytes is None:
        return result
    return dataclasses.replace(
        result,
        cached_bytes=compiled.cached_bytes,
        streamed_bytes=compiled.streamed_bytes,
        streaming_ms=round(1e3 * compiled.streamed_bytes / prediction.USB3_BYTES_PER_S, 2),
    )


def _model(arguments: argparse.Namespace) -> tuple[bytes, str]:
    path = Path(arguments.model)
    if path.suffix == ".tflite":
        if arguments.variant:
            msg = f"--variant {arguments.variant}: {path.name} is a model file, not a bundle"
            raise ConfigError(msg)
        try:
            return path.read_bytes(), path.name
        except OSError as error:
            near = neighbour(path) if isinstance(error, FileNotFoundError) else ""
            msg = f"cannot read {path}: {error.strerror or error}{near}"
            raise DataError(msg) from error
    from orilla.runtime.bundle.bundle import Bundle

    bundle = Bundle.open(arguments.model, every_file=False)
    variant = bundle.manifest.variant(arguments.variant or bundle.manifest.default)
    if not variant.file.endswith(".tflite"):
        msg = f"variant {variant.name} is not a .tflite file, but the Edge TPU runs only .tflite files"
        raise ConfigError(msg)
    return bundle.read(variant.file), f"{bundle.path.stem} {variant.name}"


def _check_out(arguments: argparse.Namespace) -> None:
    if Path(arguments.model).suffix == ".tflite":
        msg = f"--out {arguments.out}: {arguments.model} is not a bundle; run edgetpu_compiler to compile a single file"
        raise ConfigError(msg)
    if arguments.predict or not compiler.installed():
        msg = (
            f"--out {arguments.out} needs {compiler.COMMAND} on PATH, and cannot be combined with --predict; the "
            "compiler is available only for x86-64 Linux"
        )
        raise ConfigError(msg)
    check_new(arguments.out, overwrite=arguments.overwrite)


def _write(arguments: argparse.Namespace, compiled: compiler.Compiled) -> None:
    """Write a copy of the bundle with the compiled file.

    The original file of the variant stays in the bundle, for machines without an Edge TPU.
    """
    if not compiled.model:
        msg = f"{compiler.COMMAND} wrote no model"
        raise ConversionError(msg)
    from msgspec.structs import replace

    from orilla.runtime.bundle.bundle import Bundle, entries, write

    bundle = Bundle.open(arguments.model)
    manifest = bundle.manifest
    chosen = manifest.variant(arguments.variant or manifest.default)
    path = str(Path(chosen.file).with_suffix("")) + "_edgetpu.tflite"
    files = {name: bundle.read(name) for name in manifest.files} | {path: compiled.model}
    variants = tuple(
        replace(variant, compiled=variant.compiled | {"edgetpu": path}) if variant.name == chosen.name else variant
        for variant in manifest.variants
    )
    write(arguments.out, replace(manifest, variants=variants, files=entries(files)), files)


def _rows(mapping: prediction.Mapping) -> list[tuple[str, int, str]]:
    """Return the operator name, count and status of each row in the compiler's table."""
    counted = Counter((placement.operator.name, placement.status) for placement in mapping.placed)
    return [(name, count, status) for (name, status), count in sorted(counted.items())]


def _advice(mapping: prediction.Mapping) -> list[Advice]:
    """Return the operators that are rejected for their own properties, with alternatives that would be mapped."""
    from orilla.export.edgetpu import prediction

    return [
        Advice(index, placement.operator.name, placement.reason, placement.instead)
        for index, placement in enumerate(mapping.placed)
        if not placement.mapped and placement.status != prediction.BEHIND
    ]


def _size(count: int) -> str:
    if count >= MIB:
        return f"{count / MIB:.2f}MiB"
    return f"{count / KIB:.2f}KiB" if count >= KIB else f"{count}B"
