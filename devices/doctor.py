"""What is wrong with an installation, each finding with the command that mends it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

OPENCV_WHEELS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
"""Distributions that all install the same package `cv2`: the last one installed wins, silently."""

ENGINES = ("ai-edge-litert", "tflite-runtime", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about the installation."""

    name: str
    passed: bool
    detail: str
    mend: str | None = None
    """The command that mends it."""


def examine() -> list[Finding]:
    """All findings, the good ones too."""
    return [opencv(installed(OPENCV_WHEELS)), engine(installed(ENGINES))]


def installed(names: Iterable[str]) -> dict[str, str]:
    """The versions of those distributions that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def opencv(wheels: dict[str, str]) -> Finding:
    """Whether exactly one OpenCV wheel is installed."""
    listed = ", ".join(f"{name} {release}" for name, release in wheels.items())
    if not wheels:
        return Finding("opencv", False, "OpenCV is not installed", "pip install opencv-python-headless")
    if len(wheels) == 1:
        return Finding("opencv", True, listed)
    keep = "opencv-python" if "opencv-python" in wheels else next(iter(wheels))
    detail = f"{listed} share the package cv2: the last one installed wins, and removing one breaks both"
    mend = f"pip uninstall -y {' '.join(wheels)} && pip install {keep}"
    return Finding("opencv", False, detail, mend)


def engine(packages: dict[str, str]) -> Finding:
    """Whether at least one inference engine is installed."""
    listed = ", ".join(f"{name} {release}" for name, release in packages.items())
    if not packages:
        return Finding("engines", False, "no inference engine is installed", "pip install ai-edge-litert")
    return Finding("engines", True, listed)
