"""The table of engines and their packages. No package is imported here, because its installation may be broken."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from importlib.util import find_spec

from orilla.devices.errors import unknown_name
from orilla.devices.plugins import ModuleRegistry, Modules
from orilla.devices.shared_libraries import edgetpu_library


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine and its requirements."""

    module: str
    """Module whose `load(data, threads, **options)` creates a session."""
    format: str
    """Format of the files that the engine runs: `tflite` or `onnx`."""
    packages: tuple[str, ...]
    """Packages that the engine can use. At least one must be installed."""
    install: str
    """Command that installs one of the packages, or a hint."""
    options: dict[str, str] = field(default_factory=dict)
    """Additional arguments of `load`."""
    parallel: bool = False
    """True if several sessions with one thread each process more frames per second than one session with several
    threads."""
    compiled: bool = False
    """True if the engine runs the file in `Variant.compiled`. While the engine's device is absent, it runs
    `Variant.file`."""


LITERT = ("ai_edge_litert", "tflite_runtime", "tensorflow")
"""Packages that contain an interpreter for `.tflite` files."""

ALONE = ", in an environment without onnxruntime"


def _onnx(provider: str, install: str) -> Engine:
    options = {"provider": f"{provider}ExecutionProvider"}
    parallel = provider in ("CPU", "Xnnpack")
    return Engine("orilla.runtime.engines.onnx", "onnx", ("onnxruntime",), install, options, parallel)


BUILT_IN = {
    "litert": Engine("orilla.runtime.engines.litert", "tflite", LITERT, "pip install ai-edge-litert", parallel=True),
    "compiled": Engine("orilla.runtime.engines.compiled", "tflite", LITERT[:1], "pip install ai-edge-litert"),
    "tflite": Engine(
        "orilla.runtime.engines.litert",
        "tflite",
        ("tflite_runtime",),
        'pip install "tflite-runtime==2.14.0" "numpy<2" "opencv-python-headless<5", for Python up to 3.11',
        {"package": "tflite_runtime"},
        parallel=True,
    ),
    "edgetpu": Engine(
        "orilla.runtime.engines.edgetpu",
        "tflite",
        LITERT,
        "install libedgetpu (docs/devices.md)",
        compiled=True,
    ),
    "onnx": _onnx("CPU", 'pip install "orilla[onnx]"'),
    "onnx:xnnpack": _onnx("Xnnpack", "use a build of onnxruntime with XNNPACK"),
    "onnx:openvino": _onnx("OpenVINO", f"pip install onnxruntime-openvino{ALONE}"),
    "onnx:cuda": _onnx("CUDA", f"pip install onnxruntime-gpu{ALONE}"),
    "onnx:tensorrt": _onnx("Tensorrt", f"pip install onnxruntime-gpu{ALONE}"),
    "onnx:acl": _onnx("ACL", "use a build of onnxruntime with Arm Compute Library"),
    "onnx:qnn": _onnx("QNN", f"pip install onnxruntime-qnn{ALONE}"),
    "onnx:coreml": _onnx("CoreML", 'pip install "orilla[onnx]", on macOS'),
    "onnx:nnapi": _onnx("Nnapi", "use a build of onnxruntime for Android"),
}

ENGINES = ModuleRegistry("engine", "orilla.engines", BUILT_IN, Modules(("load",), heavy=True))
"""The engines by name. Packages add engines in the group `orilla.engines`."""


def known(engine: str) -> Engine:
    """Return an engine by name. Raise `ConfigError` if the name is unknown."""
    return ENGINES.find(engine)


def default_engine(file_format: str) -> str:
    """Return the engine that runs files of a format if the user chooses none: the first one in the table.

    Raises:
        ConfigError: No engine runs files of this format.
    """
    for name, engine in ENGINES.items():
        if engine.format == file_format:
            return name
    raise unknown_name(file_format, {engine.format: None for engine in ENGINES.values()}, kind="file format")


def is_package(name: str) -> bool:
    """Return True if a package is installed. A leftover folder of an uninstalled package does not count."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def installed(engine: str) -> bool:
    """Return True if a package of the engine is installed. The package is not imported."""
    return any(is_package(package) for package in known(engine).packages)


def available(engine: str, providers: Collection[str]) -> bool:
    """Return True if this machine has everything that an engine needs: a package, its library and its provider.

    Args:
        engine: Name of the engine.
        providers: Execution providers of the installed ONNX Runtime.
    """
    chosen = known(engine)
    provider = chosen.options.get("provider")
    library = not chosen.compiled or edgetpu_library() is not None
    return installed(engine) and library and (provider is None or provider in providers)
