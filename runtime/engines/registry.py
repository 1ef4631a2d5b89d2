"""Which engines there are, and how a variant becomes a session on one."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import msgspec

from orilla.devices.detect import loop_threads
from orilla.devices.errors import ConfigError, unknown_name
from orilla.runtime.bundle import Bundle
from orilla.runtime.manifest import Variant
from orilla.runtime.session import Session


class Engine(msgspec.Struct, frozen=True):
    """An executor: its module's `load(data, threads)` makes a session."""

    module: str
    packages: tuple[str, ...]
    """Any one of these is enough."""
    install: str
    """What `pip install` takes to bring one."""


MOST_THREADS = 64

ENGINES = {
    "litert": Engine(
        "orilla.runtime.engines.litert", ("ai_edge_litert", "tflite_runtime", "tensorflow"), "ai-edge-litert"
    ),
    "onnx": Engine("orilla.runtime.engines.onnx", ("onnxruntime",), '"orilla[onnx]"'),
}


def installed(engine: str) -> bool:
    """Whether a package that the engine needs is there; nothing is imported."""
    return any(find_spec(package) is not None for package in ENGINES[engine].packages)


def choose(bundle: Bundle, variant: str | None = None, engine: str | None = None) -> Variant:
    """The variant to run: the one asked for, or the bundle's default, or the smallest drop on the engine asked for.

    Raises:
        ConfigError: an unknown engine or variant, or a variant that another engine runs.
    """
    if engine is not None and engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    manifest = bundle.manifest
    if variant is not None:
        chosen = manifest.variant(variant)
        if engine is not None and chosen.engine != engine:
            raise ConfigError(f"variant {variant} runs on engine {chosen.engine}, not {engine}")
        return chosen
    default = manifest.variant(manifest.default)
    if engine is None or default.engine == engine:
        return default
    fitting = [candidate for candidate in manifest.variants if candidate.engine == engine]
    if not fitting:
        raise ConfigError(f"{bundle.path.name} has no variant for engine {engine}: {_offer(manifest.variants)}")
    return min(fitting, key=lambda candidate: manifest.files[candidate.file].size)


def load(bundle: Bundle, variant: Variant, *, threads: int | None = None) -> Session:
    """Loads a variant on its engine; see `load_bytes`."""
    return load_bytes(variant.engine, bundle.read(variant.file), threads=threads)


def load_bytes(engine: str, data: bytes, *, threads: int | None = None) -> Session:
    """Loads a model file on `engine`; `threads` defaults to what leaves a core to the loop.

    Raises:
        ConfigError: an unknown engine, or a number of threads that none takes.
        EngineError, MissingExtraError: it cannot load the file, or is not installed.
    """
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise ConfigError(f"{threads} threads: give 1 to {MOST_THREADS}")
    session: Session = import_module(ENGINES[engine].module).load(data, threads or loop_threads())
    return session


def _offer(variants: tuple[Variant, ...]) -> str:
    return "it has " + ", ".join(f"{variant.name} ({variant.engine})" for variant in variants)
