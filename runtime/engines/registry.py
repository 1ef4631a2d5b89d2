"""Which engines there are, and how a variant becomes a session on one."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from importlib.util import find_spec

import msgspec

from orilla.devices.cores import loop_threads
from orilla.devices.elf import EDGETPU as LIBRARY
from orilla.devices.elf import find_library
from orilla.devices.errors import ConfigError, EngineError, unknown_name
from orilla.devices.memory import available_bytes
from orilla.runtime.bundle import Bundle
from orilla.runtime.manifest import Variant
from orilla.runtime.session import NotOfferedError, Session


class Engine(msgspec.Struct, frozen=True):
    """An executor: its module's `load(data, threads, **options)` makes a session."""

    module: str
    family: str
    """The engine that a bundle names for files of this kind: `litert` for `.tflite`, `onnx` for `.onnx`."""
    packages: tuple[str, ...]
    """Any one of these is enough."""
    install: str
    """The command that brings one, or what to look for."""
    options: dict[str, str] = {}
    compiled: bool = False
    """Whether it runs what `Variant.compiled` names, with `Variant.file` for the CPU."""
    library: str | None = None
    """A shared library that it takes beside the package."""


MOST_THREADS = 64

COPIES = 2
"""Times its file's size that a model takes in memory: the file, and its weights packed for the kernels."""


LITERT = ("ai_edge_litert", "tflite_runtime", "tensorflow")
ALONE = ", in an environment without onnxruntime"


def _onnx(provider: str, wheel: str) -> Engine:
    options = {"provider": f"{provider}ExecutionProvider"}
    return Engine("orilla.runtime.engines.onnx", "onnx", ("onnxruntime",), wheel, options)


ENGINES = {
    "litert": Engine("orilla.runtime.engines.litert", "litert", LITERT, "pip install ai-edge-litert"),
    "compiled": Engine("orilla.runtime.engines.compiled", "litert", ("ai_edge_litert",), "pip install ai-edge-litert"),
    "tflite": Engine(
        "orilla.runtime.engines.litert",
        "litert",
        ("tflite_runtime",),
        'pip install "tflite-runtime==2.14.0" "numpy<2"  (Python to 3.11)',
        {"package": "tflite_runtime"},
    ),
    "edgetpu": Engine(
        "orilla.runtime.engines.edgetpu",
        "litert",
        LITERT,
        "install libedgetpu (docs/devices.md)",
        compiled=True,
        library=LIBRARY,
    ),
    "onnx": _onnx("CPU", 'pip install "orilla[onnx]"'),
    "onnx:xnnpack": _onnx("Xnnpack", "take a build of onnxruntime with XNNPACK"),
    "onnx:openvino": _onnx("OpenVINO", f"pip install onnxruntime-openvino{ALONE}"),
    "onnx:cuda": _onnx("CUDA", f"pip install onnxruntime-gpu{ALONE}"),
    "onnx:tensorrt": _onnx("Tensorrt", f"pip install onnxruntime-gpu{ALONE}"),
    "onnx:acl": _onnx("ACL", "take a build of onnxruntime with Arm Compute Library"),
    "onnx:qnn": _onnx("QNN", f"pip install onnxruntime-qnn{ALONE}"),
    "onnx:coreml": _onnx("CoreML", 'pip install "orilla[onnx]", on macOS'),
    "onnx:nnapi": _onnx("Nnapi", "take a build of onnxruntime for Android"),
}


def known(engine: str) -> Engine:
    """Raises `ConfigError` for an unknown name."""
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    return ENGINES[engine]


def installed(engine: str) -> bool:
    """Whether a package that the engine needs is there; nothing is imported."""
    return any(find_spec(package) is not None for package in known(engine).packages)


def here(engine: str, providers: Collection[str]) -> bool:
    """Whether an engine can be asked for: its package, its library, and its provider among those of ONNX Runtime."""
    chosen = known(engine)
    provider = chosen.options.get("provider")
    library = chosen.library is None or find_library(chosen.library) is not None
    return installed(engine) and library and (provider is None or provider in providers)


def fits(variant: Variant, engine: str) -> bool:
    """Whether a variant's file is one for this engine."""
    chosen = known(engine)
    return chosen.family == variant.engine and (variant.compiled is not None or not chosen.compiled)


def choose(bundle: Bundle, variant: str | None = None, engine: str | None = None) -> Variant:
    """The variant to run: the one asked for, or the bundle's default, or the smallest file for the engine asked for.

    Raises:
        ConfigError: an unknown engine or variant, or a variant that another engine runs.
    """
    manifest = bundle.manifest
    if variant is not None:
        chosen = manifest.variant(variant)
        if engine is not None and not fits(chosen, engine):
            if known(engine).compiled and chosen.engine == known(engine).family:
                raise ConfigError(f"variant {variant} is not compiled for {engine}: orilla edgetpu {bundle.path.name}")
            raise ConfigError(f"variant {variant} runs on engine {chosen.engine}, not {engine}")
        return chosen
    default = manifest.variant(manifest.default)
    if engine is None or fits(default, engine):
        return default
    fitting = [candidate for candidate in manifest.variants if fits(candidate, engine)]
    if not fitting:
        raise ConfigError(f"{bundle.path.name} has no variant for engine {engine}: {_offer(manifest.variants)}")
    return min(fitting, key=lambda candidate: manifest.files[candidate.file].size)


def load(bundle: Bundle, variant: Variant, *, engine: str | None = None, threads: int | None = None) -> Session:
    """Loads a variant on its engine, or on another one that takes its file; see `load_bytes`."""
    engine = engine or variant.engine
    if engine in ENGINES and ENGINES[engine].compiled and variant.compiled is not None:
        return load_bytes(engine, bundle.read(variant.compiled), threads=threads, fallback=bundle.read(variant.file))
    return load_bytes(engine, bundle.read(variant.file), threads=threads)


def load_bytes(engine: str, data: bytes, *, threads: int | None = None, fallback: bytes | None = None) -> Session:
    """Loads a model file on `engine`; `threads` defaults to what leaves a core to the loop.

    Raises:
        ConfigError: an unknown engine, or a number of threads that none takes.
        EngineError, MissingExtraError: it cannot load the file, is not installed, or has not the memory.
    """
    chosen = known(engine)
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise ConfigError(f"{threads} threads: give 1 to {MOST_THREADS}")
    if not installed(engine):
        raise EngineError(f"engine {engine} is not installed: {chosen.install}")
    _check_memory(engine, len(data))
    options = {**chosen.options, **({"fallback": fallback} if fallback is not None else {})}
    try:
        session: Session = import_module(chosen.module).load(data, threads or loop_threads(), **options)
    except NotOfferedError as error:
        raise EngineError(f"{error}: {chosen.install}") from error
    return session


def _check_memory(engine: str, size: int) -> None:
    free = available_bytes()
    if free is not None and free < COPIES * size:
        raise EngineError(
            f"{engine} cannot load this variant: it takes {COPIES * size >> 20} MiB, and {free >> 20} MiB can be had "
            "here (orilla devices); give the container more, or take a smaller variant"
        )


def _offer(variants: tuple[Variant, ...]) -> str:
    return "it has " + ", ".join(f"{variant.name} ({variant.engine})" for variant in variants)
