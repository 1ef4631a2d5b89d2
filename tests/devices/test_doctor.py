import struct
import sys

import pytest
from helpers import boards

from orilla.devices import doctor
from orilla.devices.checks import accelerators, board, packages
from orilla.devices.detect import detect
from orilla.devices.shared_libraries import native


def finding(found, name):
    return next(one for one in found if one.name == name)


@pytest.fixture
def looked_at(tmp_path):
    """Return a function that examines a board's files."""

    def look(files, **known):
        root = boards.write(tmp_path, files)
        return doctor.examine(detect(root, **{"arch": "aarch64", **known}), root)

    return look


def test_one_opencv_is_right():
    assert packages.opencv({"opencv-python-headless": "5.0.0"}).level == "ok"


def test_two_opencv_wheels_are_explained_with_the_command_that_mends_it():
    found = packages.opencv({"opencv-python": "5.0.0", "opencv-python-headless": "5.0.0"})
    assert not found.passed
    assert "the last one installed wins" in found.detail
    assert found.fix == "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python"


def test_what_is_missing_is_named():
    assert packages.opencv({}).fix == "pip install opencv-python-headless"
    assert packages.engines({}).fix == "pip install ai-edge-litert"


def dist(folder, name, release, text=""):
    """Write a distribution as pip leaves it, without its package."""
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
def test_distributions_that_clash(tmp_path, monkeypatch, planted, name, level, match, fix):
    for one, release in planted:
        dist(tmp_path, one, release)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = finding(packages.examine(), name)
    assert (found.level, match in found.detail, fix in found.fix) == (level, True, True)


def test_google_s_own_pycoral_is_no_fault(tmp_path, monkeypatch):
    dist(tmp_path, "pycoral", "2.0.0", "Home-page: https://coral.ai/\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert finding(packages.examine(), "pycoral").level == "ok"


def test_a_board_on_a_weak_supply(looked_at):
    found = looked_at(boards.PI4)
    power = finding(found, "power")
    assert (power.level, "under-voltage now" in power.detail) == ("failure", True)
    assert finding(found, "temperature").level == "warning"
    assert "ondemand" in finding(found, "governor").detail
    assert finding(found, "governor").fix.startswith("echo performance | sudo tee /sys/devices/system/cpu/cpu*")


def test_a_board_that_had_a_weak_supply(looked_at):
    assert finding(looked_at(boards.ZERO2W), "power").level == "warning"


def test_a_sound_board(looked_at):
    found = board.examine(detect_of(looked_at, boards.PI5))
    assert {one.name: one.level for one in found} == {
        "power": "ok",
        "temperature": "ok",
        "governor": "ok",
        "memory": "ok",
    }


def detect_of(looked_at, files, **known):
    looked_at(files)
    root = looked_at.__closure__[0].cell_contents
    return detect(root, **{"arch": "aarch64", **known})


def test_little_memory(looked_at):
    small = {**boards.PI5, **boards.group_v2(limit=str(200 << 20), used=100 << 20)}
    found = finding(looked_at(small), "memory")
    assert found.level == "warning"
    assert "100 MiB are free, of the 200 MiB of its control group" in found.detail


@pytest.mark.parametrize(("engines", "level"), [({}, "failure"), ({"tflite-runtime": "2.14.0"}, "warning")])
def test_a_32_bit_system_says_what_works(looked_at, engines, level):
    import dataclasses

    machine = dataclasses.replace(detect_of(looked_at, boards.PI4_32BIT, arch="armv7l", bits=32), engines=engines)
    found = finding(board.examine(machine), "system")
    assert found.level == level
    assert "only tflite-runtime 2.14 has" in found.detail
    assert "64-bit system" in found.fix


def test_a_coral_on_a_slow_port(looked_at):
    found = finding(looked_at(boards.PI4), "edgetpu-usb")
    assert (found.level, "480 Mbit/s" in found.detail) == ("warning", True)
    assert finding(looked_at(boards.PI5), "edgetpu-usb").level == "warning"  # the slow stick is still plugged in


def test_a_coral_without_its_library(looked_at):
    found = finding(looked_at(boards.PI5), "libedgetpu")
    assert (found.level, found.detail) == ("failure", "libedgetpu.so.1 is not installed")


def library(root, version=None, machine=None):
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
        ("16.0", {"ai-edge-litert": "2.3.0"}, "failure", "TensorFlow 2.5 of 2021"),
        ("16.0tf2.19.1-1.bookworm", {"ai-edge-litert": "2.3.0"}, "ok", "for TensorFlow 2.19"),
        ("16.0tf2.17.0-1.bookworm", {"tflite-runtime": "2.14.0"}, "failure", "and tflite-runtime is 2.14.0"),
        ("16.0tf2.14.0-1.bookworm", {"tflite-runtime": "2.14.0"}, "ok", "for TensorFlow 2.14"),
        (None, {"ai-edge-litert": "2.3.0"}, "ok", "belongs to no Debian package"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="Linux' file names")
def test_the_age_of_libedgetpu(tmp_path, version, engines, level, match):
    import dataclasses

    library(tmp_path, version)
    machine = dataclasses.replace(detect(boards.write(tmp_path, boards.PI5)), engines=engines)
    found = finding(accelerators.examine(machine, tmp_path), "libedgetpu")
    assert (found.level, match in found.detail) == (level, True)


def test_a_libedgetpu_of_another_architecture(tmp_path):
    library(tmp_path, "16.0tf2.19.1-1", "armv7l" if native() != "armv7l" else "aarch64")
    found = finding(accelerators.examine(detect(boards.write(tmp_path, boards.PI5)), tmp_path), "libedgetpu")
    assert found.level == "failure"
    assert f"not for {native()}" in found.detail


def test_a_board_without_a_driver_for_its_accelerator(looked_at):
    files = {name: text for name, text in boards.CORAL_DEV.items() if not name.startswith("dev/")}
    found = finding(looked_at(files), "edgetpu-pci")
    assert (found.level, "gasket-dkms" in found.fix) == ("failure", True)


def test_this_installation_is_sound():
    assert [found.name for found in doctor.examine() if not found.passed] == []
