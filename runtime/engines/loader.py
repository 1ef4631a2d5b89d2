"""Choose a variant of a bundle and load it on an engine."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from orilla.devices.cores import loop_threads
from orilla.devices.errors import ConfigError, EngineError
from orilla.devices.gate import reason_of
from orilla.devices.memory import available_bytes
from orilla.devices.onnx_file import check_onnx
from orilla.devices.tflite_file import check_tflite
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import Manifest, Variant
from orilla.runtime.engines.examination import examine
from orilla.runtime.engines.registry import ENGINES, default_engine, installed, known
from orilla.runtime.engines.session import UNBOUND, Binding, NotOfferedError, Session

MAX_THREADS = 64

CHECKS = {"tflite": check_tflite, "onnx": check_onnx}
"""Functions that check the structure of a model file. The keys are the file formats."""

COPIES = 2
"""Minimum memory that a model needs, as a multiple of its file size. The weights are in memory twice: in the layout of
the file, and in the layout that the kernels need."""

BASE_BYTES = {"tflite": 12 << 20, "onnx": 40 << 20}
"""Minimum memory in bytes that an engine needs without a model. The keys are the file formats. Measured with
`python tests/perf/engines.py`."""


def fits(variant: Variant, engine: str) -> bool:
    """Return True if the engine can run the variant's file."""
    chosen = known(engine)
    return chosen.format == variant.format and (engine in variant.compiled or not chosen.compiled)


def choose(bundle: Bundle, variant: str | None = None, engine: str | None = None) -> Variant:
    """Choose a variant.

    The requested variant is chosen, if there is one. Otherwise, the bundle's default is chosen if the engine can run
    it, else the variant with the smallest file that the engine can run.

    Raises:
        ConfigError: The engine or variant is unknown, or the engine cannot run the variant.
    """
    manifest = bundle.manifest
    if variant is not None:
        chosen = manifest.variant(variant)
        if engine is not None and not fits(chosen, engine):
            if known(engine).compiled and chosen.format == known(engine).format:
                msg = f"variant {variant} is not compiled for {engine}: run `orilla edgetpu {bundle.path.name}`"
                raise ConfigError(msg)
            msg = f"variant {variant} runs on the engine `{default_engine(chosen.format)}`, not on `{engine}`"
            raise ConfigError(msg)
        return chosen
    default = manifest.variant(manifest.default)
    if engine is None or fits(default, engine):
        return default
    fitting = [candidate for candidate in manifest.variants if fits(candidate, engine)]
    if not fitting:
        msg = f"{bundle.path.name} has no variant for the engine `{engine}`: {_offer(manifest.variants)}"
        raise ConfigError(msg)
    return min(fitting, key=lambda candidate: manifest.files[candidate.file].size)


def load(bundle: Bundle, variant: Variant, *, engine: str | None = None, threads: int | None = None) -> Session:
    """Load a variant on its own engine, or on another engine that can run its file. See `load_bytes`.

    A file of a bundle that is neither shipped nor signed by a trusted key is first tried in a sandboxed process, once
    on this machine.
    """
    engine = engine or default_engine(variant.format)
    check_memory(engine, bundle.manifest.files[variant.file].size)  # The memory is checked before the file is read.
    binding = binding_of(bundle.manifest, variant)
    data = bundle.read(variant.file)
    if not bundle.is_trusted:
        check_structure(engine, data)
        examine(engine, data, bundle.manifest.files[variant.file].sha256)
    if engine in variant.compiled:
        check_structure(engine, data)
        return _session(engine, bundle.read(variant.compiled[engine]), threads, binding, {"fallback": data})
    return _session(engine, data, threads, binding)


def check_structure(engine: str, data: bytes) -> None:
    """Check the structure of a model file before the library of an engine reads it.

    Raises:
        EngineError: The file is damaged, or refers to other files.
    """
    check = CHECKS.get(known(engine).format)
    if check is None:
        return
    try:
        check(data)
    except Exception as error:
        msg = f"{engine} cannot load this variant: {reason_of(error)}"
        raise EngineError(msg) from error


def binding_of(manifest: Manifest, variant: Variant) -> Binding:
    """Return the mapping from the names and pixel values of a bundle to those of a variant's file."""
    inputs, outputs = (
        {tensor.file_name: tensor.name for tensor in side if tensor.file_name is not None}
        for side in (variant.inputs, variant.outputs)
    )
    return Binding(inputs, outputs, tuple(spec.name for spec in manifest.outputs), manifest.preprocess.pixel_values)


def load_bytes(engine: str, data: bytes, *, threads: int | None = None, binding: Binding = UNBOUND) -> Session:
    """Load the bytes of a model file on an engine. If `threads` is None, all cores except one are used, at most four.

    Raises:
        ConfigError: The engine is unknown, or the number of threads is invalid.
        EngineError: The engine is not installed, cannot load the file, or lacks memory.
    """
    check_memory(engine, len(data))
    return _session(engine, data, threads, binding)


def _session(
    engine: str,
    data: bytes,
    threads: int | None,
    binding: Binding,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Session:
    chosen = known(engine)
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        msg = f"threads={threads}: must be 1 to {MAX_THREADS}"
        raise ConfigError(msg)
    if not installed(engine):
        msg = f"the engine `{engine}` is not installed: {chosen.install}"
        raise EngineError(msg)
    check_structure(engine, data)
    try:
        load_on = ENGINES.module(engine).load
        session: Session = load_on(data, threads or loop_threads(), binding, **chosen.options, **options)
    except NotOfferedError as error:
        msg = f"{error}: {chosen.install}"
        raise EngineError(msg) from error
    return session


def check_memory(engine: str, size: int) -> None:
    """Raise `EngineError` if there is less free memory than a model file of `size` bytes needs."""
    needed = COPIES * size + BASE_BYTES.get(known(engine).format, 0)
    free = available_bytes()
    if free is not None and free < needed:
        msg = (
            f"{engine} cannot load this variant: it needs at least {needed >> 20} MiB of memory, but only "
            f"{free >> 20} MiB are free; give the container more memory, or use a smaller variant"
        )
        raise EngineError(msg)


def _offer(variants: tuple[Variant, ...]) -> str:
    return "it has " + ", ".join(f"{variant.name} ({default_engine(variant.format)})" for variant in variants)
