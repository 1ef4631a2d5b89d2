"""Distributions that are installed in this Python."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

OPENCV_WHEELS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
"""Distributions that all install the package `cv2`. The last one installed silently replaces the others."""

ORT_WHEELS = ("onnxruntime", "onnxruntime-openvino", "onnxruntime-gpu", "onnxruntime-qnn", "onnxruntime-directml")
"""Distributions that all install the package `onnxruntime`, each with other providers."""

LITERT_WHEELS = ("ai-edge-litert", "tflite-runtime", "tensorflow")

ENGINES = (*LITERT_WHEELS, *ORT_WHEELS)


def installed(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of the given distributions that are installed."""
    found = {}
    for name in names:
        try:
            release = version(name)
        except PackageNotFoundError:
            continue
        if release:  # the remains of an uninstalled distribution may have no version
            found[name] = release
    return found
