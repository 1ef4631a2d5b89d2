"""The checks of `orilla doctor` that read files: packages, board and accelerators."""

import dataclasses
import struct
import sys
from pathlib import Path

import pytest
from helpers import boards

from orilla.devices import doctor
from orilla.devices.checks import accelerators, board, packages
from orilla.devices.detect import detect
from orilla.devices.shared_libraries import native


def finding(findings, name):
    """Return the finding with the given name."""
    return next(item for item in findings if item.name == name)


def write_and_detect(root, files, **known):
    """Write a board's files, and return the machine that is detected from them."""
    return detect(boards.write(root, files), **{"arch": "aarch64", **known})


@pytest.fixture
def examine(tmp_path):
    """Return a function that writes a board's files and returns the findings."""
    return lambda files: doctor.examine(write_and_detect(tmp_path, files), tmp_path)


def test_a_single_opencv_wheel_passes():
    assert packages.opencv({"opencv-python-headless": "5.0.0"}).level == "ok"


def test_two_opencv_wheels_fail_with_the_command_that_fixes_it():
    result = packages.opencv({"opencv-python": "5.0.0", "opencv-python-headless": "5.0.0"})
    assert not result.passed
    assert "the last one installed wins" in result.detail
    assert result.fix == "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python"


def test_a_missing_package_fails_with_its_install_command():
    assert packages.opencv({}).fix == "pip install opencv-python-headless"
    assert packages.engines({}).fix == "pip install ai-edge-litert"


def test_an_opencv_without_a_wheel_passes():
    """Debian's `python3-opencv` has no metadata of a Python package."""
    result = packages.opencv({}, Path("/usr/lib/python3/dist-packages"))
    assert (result.level, result.detail) == ("ok", "none; the package cv2 is in /usr/lib/python3/dist-packages")


@pytest.mark.parametrize(
    ("used", "hidden", "place", "match"),
    [
        ("2.2.6", "1.24.2", "system", "numpy 2.2.6 hides numpy 1.24.2 in /system, for which picamera2"),
        ("2.2.6", "1.24.2", "environment", None),  # This `picamera2` does not belong to the system.
        ("1.26.4", "1.24.2", "system", None),
        ("2.2.6", "2.1.0", "system", None),
        ("1.26.4", "2.2.4", "system", None),  # Packages that are built for numpy 2 also run with numpy 1.
    ],
)
def test_numpy_2_that_hides_the_numpy_of_the_system_fails(used, hidden, place, match):
    numpys = [(used, Path("/environment")), (hidden, Path("/system"))]
    users = {"picamera2": Path("/", place, "picamera2"), "cv2": None}
    result = packages.system_numpy(numpys, users, ["opencv-python-headless"])
    if match is None:
        assert result is None
    else:
        assert (result.level, match in result.detail) == ("failure", True)
        assert result.fix == 'pip install "numpy<2" "opencv-python-headless<5"'


def test_the_opencv_of_the_system_gets_no_second_copy():
    numpys = [("2.2.6", Path("/environment")), ("1.24.2", Path("/system"))]
    result = packages.system_numpy(numpys, {"cv2": Path("/system")})
    assert (result.level, result.fix) == ("failure", 'pip install "numpy<2"')


def write_distribution(folder, name, release, text=""):
    """Write the metadata folder of an installed distribution, as pip does, but not the package itself."""
    info = folder / f"{name.replace('-', '_')}-{release}.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n{text}")


@pytest.mark.parametrize(
    ("planted", "name", "level", "match", "fix"),
    [
        (
            [("opencv-python", "5.0.0")],
            "opencv wheel",
            "failure",
            "share the package cv2",
            "pip uninstall -y opencv-python",
        ),
        ([("tflite-runtime", "2.14.0")], "tflite-runtime", "failure", "built for numpy 1", 'pip install "numpy<2"'),
        ([("pycoral", "0.0.1")], "pycoral", "warning", "not Google's", "pip uninstall -y pycoral"),
        (
            [("onnxruntime-openvino", "1.24.1")],
            "onnxruntime",
            "failure",
            "share the package onnxruntime",
            "pip install onnxruntime-openvino",
        ),
    ],
)
def test_conflicting_distributions_are_reported(tmp_path, monkeypatch, planted, name, level, match, fix):
    for distribution, release in planted:
        write_distribution(tmp_path, distribution, release)
    monkeypatch.syspath_prepend(str(tmp_path))
    result = finding(packages.examine(), name)
    assert (result.level, match in result.detail, fix in result.fix) == (level, True, True)


def test_google_s_own_pycoral_passes(tmp_path, monkeypatch):
    write_distribution(tmp_path, "pycoral", "2.0.0", "Home-page: https://coral.ai/\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert finding(packages.examine(), "pycoral").level == "ok"


def test_under_voltage_and_heat_are_reported(examine):
    findings = examine(boards.PI4)
    power = finding(findings, "power")
    assert (power.level, "under-voltage now" in power.detail) == ("failure", True)
    assert finding(findings, "temperature").level == "warning"
    assert "ondemand" in finding(findings, "governor").detail
    assert finding(findings, "governor").fix.startswith("echo performance | sudo tee /sys/devices/system/cpu/cpu*")


def test_under_voltage_in_the_past_is_a_warning(examine):
    assert finding(examine(boards.ZERO2W), "power").level == "warning"


def test_a_board_without_problems_passes(tmp_path):
    findings = board.examine(write_and_detect(tmp_path, boards.PI5))
    assert {item.name: item.level for item in findings} == {
        "power": "ok",
        "temperature": "ok",
        "governor": "ok",
        "memory": "ok",
    }


def test_little_free_memory_is_a_warning(examine):
    small = {**boards.PI5, **boards.group_v2(limit=str(200 << 20), used=100 << 20)}
    result = finding(examine(small), "memory")
    assert result.level == "warning"
    assert "100 MiB of the 200 MiB that the control group allows is free" in result.detail


@pytest.mark.parametrize(("engines", "level"), [({}, "failure"), ({"tflite-runtime": "2.14.0"}, "warning")])
def test_a_32_bit_system_is_reported_with_what_works(tmp_path, engines, level):
    machine = write_and_detect(tmp_path, boards.PI4_32BIT, arch="armv7l", bits=32)
    machine = dataclasses.replace(machine, engines=engines)
    result = finding(board.examine(machine), "system")
    assert result.level == level
    assert "The only engine is tflite-runtime 2.14" in result.detail
    assert "64-bit operating system" in result.fix


def test_a_coral_on_a_slow_port_is_a_warning(examine):
    result = finding(examine(boards.PI4), "edgetpu-usb")
    assert (result.level, "480 Mbit/s" in result.detail) == ("warning", True)
    assert finding(examine(boards.PI5), "edgetpu-usb").level == "warning"  # The slow accelerator is still plugged in.


def test_a_coral_without_its_library_fails(examine):
    result = finding(examine(boards.PI5), "libedgetpu")
    assert (result.level, result.detail) == ("failure", "libedgetpu.so.1 is not installed")


def write_library(root, version=None, machine=None):
    """Write libedgetpu as Debian's package installs it."""
    numbers = {"x86_64": 62, "aarch64": 183, "armv7l": 40, "i686": 3}
    number = numbers[machine or native()]
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, number) + bytes(44)
    path = root / "usr/lib/x-linux-gnu/libedgetpu.so.1"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header)
    if version:
        status = (
            "Package: libc6\nStatus: install ok installed\nVersion: 2.36\n\n"
            "Package: libedgetpu1-std\nStatus: install ok installed\nDescription: x\n more: of it\n"
            f"Version: {version}\n"
        )
        boards.write(root, {"var/lib/dpkg/status": status})


@pytest.mark.parametrize(
    ("version", "engines", "level", "match"),
    [
        ("16.0", {"ai-edge-litert": "2.3.0"}, "failure", "TensorFlow 2.5, released in 2021"),
        ("16.0tf2.19.1-1.bookworm", {"ai-edge-litert": "2.3.0"}, "ok", "for TensorFlow 2.19"),
        ("16.0tf2.17.0-1.bookworm", {"tflite-runtime": "2.14.0"}, "failure", "but tflite-runtime 2.14.0 is installed"),
        ("16.0tf2.14.0-1.bookworm", {"tflite-runtime": "2.14.0"}, "ok", "for TensorFlow 2.14"),
        (None, {"ai-edge-litert": "2.3.0"}, "ok", "belongs to no Debian package"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the file names are those of Linux")
def test_libedgetpu_must_fit_the_runtime(tmp_path, version, engines, level, match):
    write_library(tmp_path, version)
    machine = dataclasses.replace(detect(boards.write(tmp_path, boards.PI5)), engines=engines)
    result = finding(accelerators.examine(machine, tmp_path), "libedgetpu")
    assert (result.level, match in result.detail) == (level, True)


def test_a_libedgetpu_of_another_architecture_fails(tmp_path):
    write_library(tmp_path, "16.0tf2.19.1-1", "armv7l" if native() != "armv7l" else "aarch64")
    result = finding(accelerators.examine(detect(boards.write(tmp_path, boards.PI5)), tmp_path), "libedgetpu")
    assert result.level == "failure"
    assert f"not for {native()}" in result.detail


def test_a_missing_driver_of_an_accelerator_fails(examine):
    files = {name: text for name, text in boards.CORAL_DEV.items() if not name.startswith("dev/")}
    result = finding(examine(files), "edgetpu-pci")
    assert (result.level, "gasket-dkms" in result.fix) == ("failure", True)


def test_this_installation_passes():
    assert [item.name for item in doctor.examine() if not item.passed] == []
