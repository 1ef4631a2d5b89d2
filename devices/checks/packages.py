"""Check the Python packages for conflicts, and for packages with a misleading name."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata

from orilla.devices.finding import Finding
from orilla.devices.packages import ENGINES, OPENCV_WHEELS, ORT_WHEELS, installed

GOOGLE = "coral.ai"
"""Text that only the metadata of Google's `pycoral` contains. The `pycoral` on PyPI is an unrelated project."""


def examine(bits: int = 64) -> list[Finding]:
    """Return all findings, including those that report no problem.

    Args:
        bits: Pointer size of this Python in bits. If it is 32, OpenCV and the engines are left out, because
            `board.bits` checks them.
    """
    numpy = installed(["numpy"]).get("numpy")
    findings = [
        opencv(installed(OPENCV_WHEELS)) if bits == 64 else None,
        engines(installed(ENGINES)) if bits == 64 else None,
        onnxruntime(installed(ORT_WHEELS)),
        tflite_numpy(installed(["tflite-runtime"]).get("tflite-runtime"), numpy),
        pycoral(_metadata("pycoral")),
    ]
    return [finding for finding in findings if finding is not None]


def opencv(wheels: dict[str, str]) -> Finding:
    """Check that exactly one OpenCV wheel is installed."""
    listed = _listed(wheels)
    if not wheels:
        return Finding("opencv wheel", "failure", "OpenCV is not installed", "pip install opencv-python-headless")
    if len(wheels) == 1:
        return Finding("opencv wheel", "ok", listed)
    keep = "opencv-python" if "opencv-python" in wheels else next(iter(wheels))
    detail = f"{listed} share the package cv2: the last one installed wins, and removing one breaks the others"
    return Finding("opencv wheel", "failure", detail, f"pip uninstall -y {' '.join(wheels)} && pip install {keep}")


def engines(packages: dict[str, str]) -> Finding:
    """Check that at least one inference engine is installed."""
    if not packages:
        return Finding("engines", "failure", "no inference engine is installed", "pip install ai-edge-litert")
    return Finding("engines", "ok", _listed(packages))


def onnxruntime(wheels: dict[str, str]) -> Finding | None:
    """Check that only one build of ONNX Runtime is installed. Several builds overwrite each other."""
    if len(wheels) < 2:
        return None
    keep = next(name for name in wheels if name != "onnxruntime")
    detail = f"{_listed(wheels)} share the package onnxruntime: only the providers of the last one installed work"
    return Finding("onnxruntime", "failure", detail, f"pip uninstall -y {' '.join(wheels)} && pip install {keep}")


def tflite_numpy(tflite: str | None, numpy: str | None) -> Finding | None:
    """Check that tflite-runtime, which is built for numpy 1, is not installed together with numpy 2."""
    if tflite is None or numpy is None or numpy.startswith(("0.", "1.")):
        return None
    detail = f"tflite-runtime {tflite} is built for numpy 1, but numpy {numpy} is installed: inference will fail"
    fix = 'pip install "numpy<2" "opencv-python-headless<5"  (or: pip install ai-edge-litert)'
    return Finding("tflite-runtime", "failure", detail, fix)


def pycoral(text: str | None) -> Finding | None:
    """Check that the installed `pycoral` is Google's.

    Args:
        text: Metadata of the distribution. None if it is not installed.
    """
    if text is None:
        return None
    if GOOGLE in text:
        return Finding("pycoral", "ok", "this is Google's package; Orilla does not need it")
    detail = "this is the unrelated pycoral from PyPI, not Google's; Orilla needs neither"
    return Finding("pycoral", "warning", detail, "pip uninstall -y pycoral")


def _metadata(name: str) -> str | None:
    try:
        return str(metadata(name))
    except PackageNotFoundError:
        return None


def _listed(packages: dict[str, str]) -> str:
    return ", ".join(f"{name} {release}" for name, release in packages.items())
