"""Findings of `orilla doctor` about the accelerators of current boards. Files simulate the accelerators."""

import dataclasses

import pytest
from helpers import boards

from orilla.devices.checks import accelerators, npus
from orilla.devices.detect import detect


@pytest.fixture
def examine(tmp_path):
    """Return a function that writes a board's files and returns the finding about each accelerator."""

    def examine(files, **engines):
        machine = detect(boards.write(tmp_path, files), arch="aarch64")
        machine = dataclasses.replace(machine, engines=engines)
        return {finding.name: finding for finding in accelerators.examine(machine, tmp_path)}

    return examine


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (boards.hailo("0x2864", "hailo0"), "Hailo-8"),
        (boards.hailo("0x45c4", "h1x-0", module="hailo1x_pci"), "Hailo-10H"),
        (boards.hailo("0x45c4", "hailo0", module="hailo1x_pci"), "Hailo-10H"),
        (boards.hailo("0x9999", "hailo0"), "Hailo accelerator"),
    ],
)
def test_a_hailo_with_its_driver_passes(examine, files, name):
    finding = examine(files)["hailo"]
    assert (finding.level, finding.detail) == ("ok", name)


@pytest.mark.parametrize(
    ("files", "detail", "fix"),
    [
        (boards.hailo("0x2864"), "has created no device", "sudo apt install hailo-all && sudo reboot"),
        (
            boards.hailo("0x45c4", module="hailo1x_pci"),
            "has created no device",
            "sudo apt install dkms hailo-h10-all && sudo reboot",
        ),
        (
            boards.hailo("0x45c4", module="hailo_pci"),
            "hailo_pci is loaded, which does not support this chip",
            "sudo apt remove hailo-all && sudo apt install dkms hailo-h10-all && sudo reboot",
        ),
        (
            boards.hailo("0x2864", module="hailo1x_pci"),
            "hailo1x_pci is loaded, which does not support this chip",
            "sudo apt remove hailo-h10-all && sudo apt install hailo-all && sudo reboot",
        ),
    ],
)
def test_a_hailo_without_its_driver_fails_with_the_package_of_its_chip(examine, files, detail, fix):
    finding = examine(files)["hailo"]
    assert (finding.level, detail in finding.detail, finding.fix) == ("failure", True, fix)


def test_hailo_packages_of_two_versions_are_a_warning(examine):
    files = boards.hailo("0x45c4", "h1x-0", module="hailo1x_pci")
    finding = examine({**files, **boards.dpkg(h10_hailort="5.1.1", python3_hailort="4.20.0-1")})["hailo"]
    assert finding.level == "warning"
    assert "hailo_platform 4.20.0-1 cannot load the installed HailoRT 5.1.1" in finding.detail
    same = boards.dpkg(h10_hailort="5.1.1", python3_h10_hailort="5.1.1-1")
    assert examine({**files, **same})["hailo"].level == "ok"


def test_the_ai_camera_needs_its_firmware(examine):
    finding = examine(boards.AI_CAMERA)["imx500"]
    assert (finding.level, finding.fix) == ("warning", "sudo apt install imx500-all && sudo reboot")
    finding = examine({**boards.AI_CAMERA, "lib/firmware/imx500_firmware.fpk": ""})["imx500"]
    assert (finding.level, finding.fix) == ("ok", None)


@pytest.mark.parametrize("files", [boards.ROCK5_VENDOR, boards.ROCK5_MAINLINE])
def test_a_rockchip_npu_is_found_under_both_drivers(examine, files):
    finding = examine(files)["rockchip-npu"]
    assert finding.level == "ok"
    assert finding.detail == f"NPU of the RK3588: {npus.UNUSED}"


def test_a_rockchip_npu_without_a_driver_is_told(examine):
    files = {name: text for name, text in boards.ROCK5_VENDOR.items() if "renderD129" not in name}
    assert "this kernel has no driver for it" in examine(files)["rockchip-npu"].detail


def test_a_link_in_place_of_the_device_of_a_rockchip_npu_is_a_warning(examine, tmp_path):
    boards.write(tmp_path, boards.ROCK5_VENDOR)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/rknpu").symlink_to("/dev/dri/renderD129")
    finding = examine(boards.ROCK5_VENDOR)["rockchip-npu"]
    assert (finding.level, "link to /dev/dri/renderD129" in finding.detail) == ("warning", True)
    assert finding.fix.startswith("sudo rm /dev/rknpu")


def test_an_ethos_u_is_reported(examine):
    assert examine(boards.IMX93)["ethos-u"].detail == f"Arm Ethos-U: {npus.UNUSED}"


@pytest.mark.parametrize(
    ("kernel", "fix"),
    [("6.1.21-v8+", "sudo apt install gasket-dkms && sudo reboot"), ("6.12.47+rpt-rpi-2712", "feranick/gasket-driver")],
)
def test_a_coral_gets_the_driver_that_fits_the_kernel(examine, kernel, fix):
    files = {name: text for name, text in boards.CORAL_DEV.items() if not name.startswith("dev/")}
    finding = examine({**files, "proc/sys/kernel/osrelease": f"{kernel}\n"})["edgetpu-pci"]
    assert (finding.level, fix in finding.fix) == ("failure", True)


def test_the_onnx_runtime_of_pypi_is_a_warning_on_a_jetson(examine):
    finding = examine(boards.JETSON_ORIN, onnxruntime="1.23.2")["onnxruntime on Jetson"]
    assert finding.level == "warning"
    assert "pip install onnxruntime-gpu --index-url https://pypi.jetson-ai-lab.io/jp6/cu126" in finding.fix
    assert "onnxruntime on Jetson" not in examine(boards.JETSON_ORIN, **{"onnxruntime-gpu": "1.23.0"})
    older = {**boards.JETSON_ORIN, "etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 1\n"}
    assert "elinux.org/Jetson_Zoo" in examine(older, onnxruntime="1.16.0")["onnxruntime on Jetson"].fix
