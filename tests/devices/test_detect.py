"""Detection of machines from their files in `/proc` and `/sys`."""

import dataclasses
import os

import pytest
from helpers import boards

from orilla.devices import cores
from orilla.devices.cgroup import limits
from orilla.devices.detect import detect
from orilla.devices.memory import available_bytes, memory
from orilla.devices.spec import catalog

MIB = 1 << 20


@pytest.fixture
def detected(tmp_path):
    """Return a function that detects a machine from a board's files."""
    return lambda files, **known: detect(boards.write(tmp_path, files), **{"arch": "aarch64", **known})


@pytest.mark.parametrize(
    ("files", "board", "cpu", "features", "device"),
    [
        (boards.PI3, "Raspberry Pi 3 Model B Plus Rev 1.3", "Cortex-A53", ("asimd",), "pi3"),
        (boards.PI4, "Raspberry Pi 4 Model B Rev 1.5", "Cortex-A72", ("asimd",), "pi4"),
        (boards.PI4_32BIT, "Raspberry Pi 4 Model B Rev 1.2", "Cortex-A72", ("neon",), "pi4"),
        (boards.PI5, "Raspberry Pi 5 Model B Rev 1.0", "Cortex-A76", ("asimd", "atomics", "asimdhp", "asimddp"), "pi5"),
        (boards.ZERO2W, "Raspberry Pi Zero 2 W Rev 1.0", "Cortex-A53", ("asimd",), "zero2w"),
        (boards.CORAL_DEV, "Freescale i.MX8MQ Phanbell", "Cortex-A53", ("asimd",), "coral-dev"),
        (
            boards.JETSON_ORIN,
            "NVIDIA Jetson Orin Nano Developer Kit",
            "Cortex-A78AE",
            ("asimd", "atomics", "asimdhp", "asimddp"),
            "jetson-orin-nano",
        ),
        (boards.ROCK5, "Radxa ROCK 5B", "Cortex-A55 + Cortex-A76", ("asimd", "atomics", "asimdhp", "asimddp"), None),
    ],
)
def test_a_board_is_recognised_by_its_files(detected, files, board, cpu, features, device):
    machine = detected(files)
    assert (machine.board, machine.cpu, machine.features) == (board, cpu, features)
    assert catalog().of_board(machine.board) == device
    assert str(machine).startswith(f"{board} ({cpu}), aarch64")
    if device is not None:
        assert set(catalog().device(device).features) <= {*machine.features, "asimd"}


def test_memory_clock_and_temperature_of_a_board(detected):
    machine = detected(boards.PI3)
    assert (machine.memory_mib, machine.memory_free_mib, machine.max_mhz) == (923, 597, 1400)
    assert (machine.governor, machine.temperature_c, machine.throttled) == ("ondemand", 47.236, ())
    assert machine.cores_online == 4
    assert machine.bits == 64


def test_the_reasons_for_throttling(detected):
    assert detected(boards.PI4).throttled == (
        "under-voltage now",
        "throttled now",
        "under-voltage since boot",
        "throttled since boot",
    )


def test_under_voltage_without_a_report_of_the_firmware(detected):
    assert detected(boards.ZERO2W).throttled == ("under-voltage since boot",)


def test_an_intel_computer(detected):
    machine = detected(boards.INTEL, arch="x86_64")
    assert machine.cpu == "Intel(R) Core(TM) Ultra 7 155H"
    assert machine.features == ("sse4_1", "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni")
    assert [accelerator.kind for accelerator in machine.accelerators] == ["intel-gpu", "intel-npu"]
    assert (machine.temperature_c, machine.throttled) == (44.0, ("throttled by heat since boot",))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (boards.PI4, [("edgetpu-usb", "Coral USB Accelerator (not yet initialised by its library)", 480)]),
        (boards.PI5, [("edgetpu-usb", "Coral USB Accelerator (initialised)", 5000)]),
        (boards.CORAL_DEV, [("edgetpu-pci", "Coral Edge TPU on PCI Express", None)]),
        (boards.JETSON_ORIN, [("nvidia-gpu", "Jetson's GPU, Jetson Linux 36.4.3", None)]),
        (boards.NVIDIA_PC, [("nvidia-gpu", "NVIDIA GeForce RTX 4070", None)]),
        (boards.PI3, []),
    ],
)
def test_accelerators(detected, files, expected):
    machine = detected(files)
    described = [(item.kind, item.name, item.link_mbit) for item in machine.accelerators]
    assert described == expected
    assert all(item.usable for item in machine.accelerators)


def test_an_accelerator_without_its_driver_is_not_usable(detected):
    files = {name: text for name, text in boards.CORAL_DEV.items() if not name.startswith("dev/")}
    assert [accelerator.usable for accelerator in detected(files).accelerators] == [False]


def test_an_unknown_system_is_no_error(tmp_path):
    machine = detect(tmp_path)
    assert (machine.memory_mib, machine.board, machine.temperature_c) == (0, None, None)


def test_meaningless_files_are_no_error(tmp_path):
    nonsense = {name: "\0\x7f?:\n: :\nprocessor" for files in (boards.PI4, boards.INTEL) for name in files}
    machine = detect(boards.write(tmp_path, {**nonsense, "proc/self/cgroup": "::\n0\n"}))
    assert machine.memory_mib == 0


def test_the_description_of_this_machine_is_complete():
    machine = detect()
    assert machine.cores >= 1
    assert machine.memory_mib > machine.memory_free_mib > 0
    assert "ai-edge-litert" in machine.engines
    assert dataclasses.asdict(machine)


@pytest.mark.parametrize(
    ("files", "cpus", "limit"),
    [
        (boards.group_v2(), None, None),
        (boards.group_v2("150000 100000", str(256 * MIB)), 1.5, 256 * MIB),
        (boards.group_v1(), None, None),
        (boards.group_v1(200000, 512 * MIB), 2.0, 512 * MIB),
        ({}, None, None),
    ],
)
def test_limits_of_a_container(tmp_path, files, cpus, limit):
    group = limits(boards.write(tmp_path, files))
    assert (group.cpus, group.memory_bytes) == (cpus, limit)


def test_affinity_and_quota_limit_the_cores(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    assert cores.available_cores(tmp_path) == 4
    assert cores.available_cores(boards.write(tmp_path, boards.group_v2("250000 100000"))) == 2
    assert cores.available_cores(boards.write(tmp_path, boards.group_v2("50000 100000"))) == 1


def test_the_control_group_limits_the_available_memory(tmp_path):
    root = boards.write(
        tmp_path, {**boards.PI5, **boards.group_v2(limit=str(512 * MIB), used=300 * MIB, inactive=50 * MIB)}
    )
    assert memory(root).limit == 512 * MIB
    assert available_bytes(root) == 262 * MIB
    assert detect(root).memory_free_mib == 262


def test_the_group_with_the_least_free_memory_counts(tmp_path):
    files = boards.group_v2(limit=str(1024 * MIB), used=100 * MIB)
    files["sys/fs/cgroup/system.slice/memory.max"] = str(2048 * MIB)
    files["sys/fs/cgroup/system.slice/memory.current"] = str(2000 * MIB)
    group = limits(boards.write(tmp_path, files))
    assert (group.memory_bytes, group.memory_left) == (1024 * MIB, 48 * MIB)


def test_cached_files_of_version_1_include_child_groups(tmp_path):
    files = boards.group_v1(limit=512 * MIB, used=500 * MIB)
    files["sys/fs/cgroup/memory/memory.stat"] = f"inactive_file 0\ntotal_inactive_file {400 * MIB}\n"
    assert limits(boards.write(tmp_path, files)).memory_left == 412 * MIB


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "100000 0\n"},
        {"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "-5 100000\n", "sys/fs/cgroup/a/memory.max": "lots"},
        {"proc/meminfo": "MemTotal:\nMemAvailable: many kB\n"},
        {"proc/self/cgroup": "5:cpuacct,cpu:/\n", "sys/fs/cgroup/cpuacct,cpu/cpu.cfs_quota_us": "-1\n"},
    ],
)
def test_invalid_files_of_groups_mean_no_limit(tmp_path, files):
    group = limits(boards.write(tmp_path, files))
    assert (group.cpus, group.memory_bytes) == (None, None)
    assert detect(tmp_path).memory_free_mib is None
    (tmp_path / "proc/self").mkdir(parents=True, exist_ok=True)
    (tmp_path / "proc/self/cgroup").write_bytes(b"0::/\xff\xfe\n")
    assert limits(tmp_path).cpus is None


def test_a_core_is_left_to_the_loop():
    assert 1 <= cores.loop_threads() <= 4
    assert cores.loop_threads() < cores.available_cores() or cores.available_cores() == 1
    assert [cores.threads_for(count) for count in (1, 2, 4, 6, 64)] == [1, 1, 3, 4, 4]
