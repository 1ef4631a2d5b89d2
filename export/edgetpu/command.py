"""The command `orilla edgetpu`: predict what Coral's Edge TPU would run of a `.tflite` file."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from orilla.devices.errors import ConfigError, ConversionError, DataError
from orilla.export.edgetpu import compiler, prediction
from orilla.runtime.bundle.bundle import Bundle, check_new, entries, write

KIB, MIB = 1 << 10, 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", help="a .tflite file, or a bundle together with --variant")
    parser.add_argument("--variant", help="variant of the bundle (default: the bundle's default)")
    parser.add_argument(
        "--out", type=Path, help="bundle to write, with the output of edgetpu_compiler added to the variant"
    )
    parser.add_argument("--predict", action="store_true", help="predict even if edgetpu_compiler is on PATH")


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Predict the mapping or run the compiler. The exit code is 1 if an operator stays on the CPU."""
    if arguments.out is not None:
        _check_out(arguments)
    data, name = _model(arguments)
    mapping = prediction.predict(data, name)
    document: dict[str, object] = {
        "model": name,
        "by": "prediction",
        "operators": len(mapping.placed),
        "mapped": sum(placement.mapped for placement in mapping.placed),
        "cpu_ops": mapping.cpu_ops,
        "cut_ops": mapping.cut_ops,
        "rows": _rows(mapping),
        "advice": _advice(mapping),
        "parameter_bytes": mapping.parameter_bytes,
        "cached_bytes": mapping.cached_bytes,
        "streamed_bytes": mapping.streamed_bytes,
        "streaming_ms": round(mapping.streaming_ms, 2),
        "largest_activation_bytes": mapping.largest_activation,
        "likely_fails": mapping.likely_fails,
    }
    if compiler.installed() and not arguments.predict:
        compiled = compiler.compile_model(data)
        on_cpu = [name for name, count, status in compiled.rows if status != prediction.MAPPED for _ in range(count)]
        document |= {"by": f"edgetpu_compiler {compiled.version}", "rows": [list(row) for row in compiled.rows]}
        # The compiler only counts operators by name. If its counts equal the prediction's, the operators are listed in
        # the predicted order, which is that of the graph.
        document["cpu_ops"] = mapping.cpu_ops if Counter(mapping.cpu_ops) == Counter(on_cpu) else on_cpu
        document["mapped"] = sum(count for _, count, status in compiled.rows if status == prediction.MAPPED)
        document["cut_ops"] = document["cpu_ops"]
        if compiled.cached_bytes is not None and compiled.streamed_bytes is not None:
            time_ms = 1e3 * compiled.streamed_bytes / prediction.USB3_BYTES_PER_S
            document |= {"cached_bytes": compiled.cached_bytes, "streamed_bytes": compiled.streamed_bytes}
            document["streaming_ms"] = round(time_ms, 2)
        if arguments.out is not None:
            _write(arguments, compiled)
            document["bundle"] = str(arguments.out)
    return (1 if document["cpu_ops"] else 0), document


def _model(arguments: argparse.Namespace) -> tuple[bytes, str]:
    path = Path(arguments.model)
    if path.suffix == ".tflite":
        if arguments.variant:
            msg = f"--variant {arguments.variant}: {path.name} is a model file, not a bundle"
            raise ConfigError(msg)
        try:
            return path.read_bytes(), path.name
        except OSError as error:
            msg = f"cannot read {path}: {error.strerror or error}"
            raise DataError(msg) from error
    bundle = Bundle.open(arguments.model, every_file=False)
    variant = bundle.manifest.variant(arguments.variant or bundle.manifest.default)
    if not variant.file.endswith(".tflite"):
        msg = f"variant {variant.name} is not a .tflite file, and the Edge TPU runs nothing else"
        raise ConfigError(msg)
    return bundle.read(variant.file), f"{bundle.path.stem} {variant.name}"


def _check_out(arguments: argparse.Namespace) -> None:
    if Path(arguments.model).suffix == ".tflite":
        msg = f"--out {arguments.out}: {arguments.model} is not a bundle; use edgetpu_compiler to write a bare file"
        raise ConfigError(msg)
    if arguments.predict or not compiler.installed():
        msg = f"--out {arguments.out}: needs {compiler.COMMAND} on PATH, which exists for x86-64 Linux"
        raise ConfigError(msg)
    check_new(arguments.out)


def _write(arguments: argparse.Namespace, compiled: compiler.Compiled) -> None:
    """Write the bundle with the compiled file. The variant itself stays for machines without an Edge TPU."""
    if not compiled.model:
        msg = f"{compiler.COMMAND} wrote no model"
        raise ConversionError(msg)
    bundle = Bundle.open(arguments.model)
    manifest = bundle.manifest
    chosen = manifest.variant(arguments.variant or manifest.default)
    path = str(Path(chosen.file).with_suffix("")) + "_edgetpu.tflite"
    files = {name: bundle.read(name) for name in manifest.files} | {path: compiled.model}
    variants = tuple(
        replace(variant, compiled=path) if variant.name == chosen.name else variant for variant in manifest.variants
    )
    write(arguments.out, replace(manifest, variants=variants, files=entries(files)), files)


def _rows(mapping: prediction.Mapping) -> list[list[object]]:
    """Return operator, count and status, as in the compiler's log."""
    counted = Counter((placement.operator.name, placement.status) for placement in mapping.placed)
    return [[name, count, status] for (name, status), count in sorted(counted.items())]


def _advice(mapping: prediction.Mapping) -> list[dict[str, object]]:
    """Return the operators that are rejected themselves, with alternatives that would map."""
    return [
        {"index": index, "operator": placement.operator.name, "reason": placement.reason, "instead": placement.instead}
        for index, placement in enumerate(mapping.placed)
        if not placement.mapped and placement.status != prediction.BEHIND
    ]


def show(document: dict[str, Any]) -> None:
    """Print the table of operators in the compiler's format, the memory, and the advice."""
    print(f"{document['model']}, by {document['by']}")
    print(f"{'Operator':<30} {'Count':<10} Status\n")
    for name, count, status in document["rows"]:
        print(f"{name:<30} {count:<10} {status}")
    streamed = document["streamed_bytes"]
    time = f" (about {document['streaming_ms']:.1f} ms per inference over USB 3)" if streamed else ""
    fails = "; the compiler is likely to fail on it" if document["likely_fails"] else ""
    print(f"\nNumber of operations that will run on Edge TPU: {document['mapped']}")
    print(f"Number of operations that will run on CPU: {len(document['cpu_ops'])}")
    if len(document["cut_ops"]) != len(document["cpu_ops"]):
        print(f"({len(document['cut_ops'])} if the graph were cut at the first rejected operator)")
    print(f"On-chip memory used for caching model parameters: {_size(document['cached_bytes'])}")
    print(f"Off-chip memory used for streaming uncached model parameters: {_size(streamed)}{time}")
    print(f"Largest activation: {_size(document['largest_activation_bytes'])}{fails}")
    if "bundle" in document:
        print(f"{document['bundle']}: written; orilla run {document['bundle']} --engine edgetpu")
    for one in document["advice"]:
        instead = f"; instead: {one['instead']}" if one["instead"] else ""
        print(f"{one['index']} {one['operator']}: {one['reason']}{instead}")


def _size(count: int) -> str:
    if count >= MIB:
        return f"{count / MIB:.2f}MiB"
    return f"{count / KIB:.2f}KiB" if count >= KIB else f"{count}B"
