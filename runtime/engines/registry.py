"""Which engines there are and what brings them; nothing is imported that could be broken."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from importlib.util import find_spec

from orilla.devices.errors import unknown_name
from orilla.devices.shared_libraries import edgetpu_library


@dataclass(frozen=True, slots=True)
class Engine:
    """An executor: its module's `load(data, threads, **options)` makes a session."""

    module: str
    family: str
    """The engine that a bundle names for files of this kind: `litert` for `.tflite`, `onnx` for `.onnx`."""
    packages: tuple[str, ...]
    """Any one of these is enough."""
    install: str
    """The command that brings one, or what to look for."""
    options: dict[str, str] = field(default_factory=dict)
    compiled: bool = False
    """Whether it runs what `Variant.compiled` names, with `Variant.file` for the CPU."""


LITERT = ("ai_edge_litert", "tflite_runtime", "tensorflow")
ALONE = ", in an environment without onnxruntime"


def _onnx(provider: str, install: str) -> Engine:
    options = {"provider": f"{provider}ExecutionProvider"}
    return Engine("orilla.runtime.engines.onnx", "onnx", ("onnxruntime",), install, options)


ENGINES = {
    "litert": Engine("orilla.runtime.engines.litert", "litert", LITERT, "pip install ai-edge-litert"),
    "compiled": Engine("orilla.runtime.engines.compiled", "litert", LITERT[:1], "pip install ai-edge-litert"),
    "tflite": Engine(
        "orilla.runtime.engines.litert",
        "litert",
        ("tflite_runtime",),
        'pip install "tflite-runtime==2.14.0" "numpy<2" "opencv-python-headless<5", for Python to 3.11',
        {"package": "tflite_runtime"},
    ),
    "edgetpu": Engine(
        "orilla.runtime.engines.edgetpu",
        "litert",
        LITERT,
        "install libedgetpu (docs/devices.md)",
        compiled=True,
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
        msg = "engine"
        raise unknown_name(msg, engine, ENGINES)
    return ENGINES[engine]


def is_package(name: str) -> bool:
    """Whether a package is there; a folder that an uninstalled one left behind is none."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def installed(engine: str) -> bool:
    """Whether a package that the engine needs is there; nothing is imported."""
    return any(is_package(package) for package in known(engine).packages)


def here(engine: str, providers: Collection[str]) -> bool:
    """Whether an engine can be asked for: its package, its library, and its provider among those of ONNX Runtime."""
    chosen = known(engine)
    provider = chosen.options.get("provider")
    library = not chosen.compiled or edgetpu_library() is not None
    return installed(engine) and library and (provider is None or provider in providers)
