"""Check the installed Python packages for conflicts and misleading names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distributions, metadata
from importlib.util import find_spec
from pathlib import Path

from orilla.devices.finding import Finding
from orilla.devices.packages import ENGINES, OPENCV_WHEELS, ORT_WHEELS, installed

GOOGLE = "coral.ai"
"""Text that only the metadata of Google's `pycoral` contains. The `pycoral` on PyPI is an unrelated project."""


def examine(bits: int = 64) -> list[Finding]:
    """Return all findings, including those that report no problem.

    Args:
        bits: Pointer size of this Python in bits. If it is 32, OpenCV and the engines are omitted, because `board.bits`
            checks them.
    """
    numpy = installed(["numpy"]).get("numpy")
    findings = [
        opencv(installed(OPENCV_WHEELS), _folder("cv2")) if bits == 64 else None,
        engines(installed(ENGINES)) if bits == 64 else None,
        onnxruntime(installed(ORT_WHEELS)),
        system_numpy(_numpys(), {name: _folder(name) for name in ("picamera2", "cv2")}, installed(OPENCV_WHEELS)),
        tflite_numpy(installed(["tflite-runtime"]).get("tflite-runtime"), numpy),
        pycoral(_metadata("pycoral")),
    ]
    return [finding for finding in findings if finding is not None]


def opencv(wheels: dict[str, str], folder: Path | None = None) -> Finding:
    """Check that exactly one OpenCV wheel is installed, or OpenCV without a wheel, such as Debian's `python3-opencv`.

    Args:
        wheels: Versions of the installed wheels, by name.
        folder: Folder that contains the package `cv2`. None if there is none.
    """
    listed = _listed(wheels)
    if not wheels and folder is not None:
        return Finding("opencv wheel", "ok", f"none; the package cv2 is in {folder}")
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


def system_numpy(
    numpys: Sequence[tuple[str, Path]], users: Mapping[str, Path | None], wheels: Iterable[str] = ()
) -> Finding | None:
    """Check that numpy 2 does not hide the system's numpy 1, for which the system's packages are built.

    This happens in a virtual environment with `--system-site-packages`. Source: raspberrypi/picamera2 issue 1088.

    Args:
        numpys: Version and folder of each numpy that can be imported. The first one is used.
        users: Folders of packages that use numpy, by name. None if a package is not installed.
        wheels: Names of the installed OpenCV wheels.
    """
    if len(numpys) < 2:
        return None
    (used, _), (hidden, folder) = numpys[0], numpys[1]
    broken = [name for name, place in users.items() if place is not None and folder in (place, *place.parents)]
    if not broken or int(used.split(".")[0]) < 2 or int(hidden.split(".")[0]) >= 2:
        return None
    detail = f"numpy {used} hides numpy {hidden} in {folder}, for which {' and '.join(broken)} in this folder is built"
    return Finding("numpy", "failure", f"{detail}: its import fails", older_numpy(wheels))


def tflite_numpy(tflite: str | None, numpy: str | None) -> Finding | None:
    """Check that tflite-runtime, which is built for numpy 1, is not installed together with numpy 2."""
    if tflite is None or numpy is None or numpy.startswith(("0.", "1.")):
        return None
    detail = f"tflite-runtime {tflite} is built for numpy 1, but numpy {numpy} is installed: inference will fail"
    fix = f"{older_numpy(installed(OPENCV_WHEELS))}  (or: pip install ai-edge-litert)"
    return Finding("tflite-runtime", "failure", detail, fix)


def older_numpy(wheels: Iterable[str]) -> str:
    """Return the command that installs numpy 1, and versions of the OpenCV wheels that run with it.

    If no wheel is installed, OpenCV comes from the system, and a wheel would be a second copy.
    """
    return " ".join(["pip install", '"numpy<2"', *(f'"{name}<5"' for name in wheels)])


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


def _folder(name: str) -> Path | None:
    """Return the folder that contains a package, or None. The package is not imported, because an import may crash."""
    spec = find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _numpys() -> list[tuple[str, Path]]:
    return [(found.version, Path(str(found.locate_file("")))) for found in distributions(name="numpy")]


def _metadata(name: str) -> str | None:
    try:
        return str(metadata(name))
    except PackageNotFoundError:
        return None


def _listed(packages: dict[str, str]) -> str:
    return ", ".join(f"{name} {release}" for name, release in packages.items())
