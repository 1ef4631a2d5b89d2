"""How a variant becomes a session on one of the engines."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from orilla.devices.cores import loop_threads
from orilla.devices.errors import ConfigError, EngineError
from orilla.devices.memory import available_bytes
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import Variant
from orilla.runtime.engines.registry import ENGINES, installed, known
from orilla.runtime.engines.session import NotOfferedError, Session

MAX_THREADS = 64

COPIES = 2
"""Times its file's size that a model takes in memory at least: the file, and its weights packed for the kernels."""

BASE_BYTES = {"litert": 12 << 20, "onnx": 40 << 20}
"""What the runtime itself takes at least. Source: `python tests/perf/engines.py`."""


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
                msg = f"variant {variant} is not compiled for {engine}: orilla edgetpu {bundle.path.name}"
                raise ConfigError(msg)
            msg = f"variant {variant} runs on engine {chosen.engine}, not {engine}"
            raise ConfigError(msg)
        return chosen
    default = manifest.variant(manifest.default)
    if engine is None or fits(default, engine):
        return default
    fitting = [candidate for candidate in manifest.variants if fits(candidate, engine)]
    if not fitting:
        msg = f"{bundle.path.name} has no variant for engine {engine}: {_offer(manifest.variants)}"
        raise ConfigError(msg)
    return min(fitting, key=lambda candidate: manifest.files[candidate.file].size)


def load(bundle: Bundle, variant: Variant, *, engine: str | None = None, threads: int | None = None) -> Session:
    """Loads a variant on its engine, or on another one that takes its file; see `load_bytes`."""
    engine = engine or variant.engine
    check_memory(engine, bundle.manifest.files[variant.file].size)  # before it is read
    if engine in ENGINES and ENGINES[engine].compiled and variant.compiled is not None:
        return _session(engine, bundle.read(variant.compiled), threads, {"fallback": bundle.read(variant.file)})
    return _session(engine, bundle.read(variant.file), threads)


def load_bytes(engine: str, data: bytes, *, threads: int | None = None) -> Session:
    """Loads a model file on `engine`; `threads` defaults to what leaves a core to the loop.

    Raises:
        ConfigError: an unknown engine, or a number of threads that none takes.
        EngineError: it cannot load the file, is not installed, or has not the memory.
    """
    check_memory(engine, len(data))
    return _session(engine, data, threads)


def _session(
    engine: str, data: bytes, threads: int | None, options: Mapping[str, Any] = MappingProxyType({})
) -> Session:
    chosen = known(engine)
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        msg = f"{threads} threads: give 1 to {MAX_THREADS}"
        raise ConfigError(msg)
    if not installed(engine):
        msg = f"engine {engine} is not installed: {chosen.install}"
        raise EngineError(msg)
    try:
        load_on = import_module(chosen.module).load
        session: Session = load_on(data, threads or loop_threads(), **chosen.options, **options)
    except NotOfferedError as error:
        msg = f"{error}: {chosen.install}"
        raise EngineError(msg) from error
    return session


def check_memory(engine: str, size: int) -> None:
    """Raise `EngineError` when the memory here is less than a model file of `size` bytes needs."""
    needed = COPIES * size + BASE_BYTES[known(engine).family]
    free = available_bytes()
    if free is not None and free < needed:
        msg = (
            f"{engine} cannot load this variant: it takes {needed >> 20} MiB or more, and {free >> 20} MiB can be had "
            "here (orilla devices); give the container more, or take a smaller variant"
        )
        raise EngineError(msg)


def _offer(variants: tuple[Variant, ...]) -> str:
    return "it has " + ", ".join(f"{variant.name} ({variant.engine})" for variant in variants)
