"""The distributions that are installed in this Python environment."""

from __future__ import annotations

from collections.abc import Iterable

OPENCV_WHEELS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
"""Distributions that contain the package `cv2`. The most recently installed distribution silently replaces the
others."""

ORT_WHEELS = ("onnxruntime", "onnxruntime-openvino", "onnxruntime-gpu", "onnxruntime-qnn", "onnxruntime-directml")
"""Distributions that contain the package `onnxruntime`, each with different execution providers."""

LITERT_WHEELS = ("ai-edge-litert", "tflite-runtime", "tensorflow")
"""Distributions that contain LiteRT."""

ENGINES = (*LITERT_WHEELS, *ORT_WHEELS)
"""Distributions that contain an inference engine."""


def installed(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of the installed distributions among `names`. The keys are the names."""
    # Import it only here, because the import is slow and many loops do not need it.
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in names:
        try:
            release = version(name)
        except PackageNotFoundError:
            continue
        if release:  # The leftovers of an uninstalled distribution may have no version.
            versions[name] = release
    return versions
