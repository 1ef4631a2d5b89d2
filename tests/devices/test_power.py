"""Energy, clock rate and processor time, read from files as the kernel writes them."""

import pytest
from helpers import boards

from orilla.devices.clocks import mhz, usage
from orilla.devices.power import PowerMeter

RAPL = "sys/class/powercap/intel-rapl:"


def write_rapl(root, energies):
    """Write the energy counters of RAPL domains. `energies` maps names of domains to microjoules."""
    files = {}
    for index, (name, energy) in enumerate(energies.items()):
        files[f"{RAPL}{index}/name"] = f"{name}\n"
        files[f"{RAPL}{index}/energy_uj"] = f"{energy}\n"
        files[f"{RAPL}{index}/max_energy_range_uj"] = "1000000000\n"
    boards.write(root, files)


def test_packages_are_added_and_counters_may_restart(tmp_path):
    write_rapl(tmp_path, {"package-0": 999_000_000, "package-1": 5_000_000, "dram": 1})
    meter = PowerMeter(tmp_path)
    assert meter.source == "RAPL, processor package"
    assert meter.read(10.0) is None
    write_rapl(tmp_path, {"package-0": 9_000_000, "package-1": 25_000_000, "dram": 900})
    assert meter.read(12.0) == pytest.approx((10 + 20) / 2)
    assert meter.joules == pytest.approx(30)


def test_the_platform_contains_its_packages(tmp_path):
    write_rapl(tmp_path, {"package-0": 0, "psys": 0})
    meter = PowerMeter(tmp_path)
    meter.read(0.0)
    write_rapl(tmp_path, {"package-0": 5_000_000, "psys": 12_000_000})
    assert meter.read(1.0) == pytest.approx(12)


def test_ina_sensors_of_a_jetson(tmp_path):
    """On an Orin Nano, the power of VDD_IN includes the other rails of the INA3221."""
    monitor = "sys/class/hwmon/hwmon1/"
    channels = {1: ("VDD_IN", 5000, 1000), 2: ("VDD_CPU_GPU_CV", 5000, 300), 3: ("VDD_SOC", 5000, 200)}
    files = {monitor + "name": "ina3221\n"}
    for number, (label, millivolts, milliamperes) in channels.items():
        files |= {
            f"{monitor}in{number}_label": f"{label}\n",
            f"{monitor}in{number}_input": f"{millivolts}\n",
            f"{monitor}curr{number}_input": f"{milliamperes}\n",
        }
    boards.write(tmp_path, files)
    meter = PowerMeter(tmp_path)
    assert meter.source == "INA sensors, board"
    assert meter.read(0.0) == pytest.approx(5.0)
    meter.read(2.0)
    assert meter.joules == pytest.approx(10.0)


def test_a_sensor_that_reports_power(tmp_path):
    monitor = "sys/class/hwmon/hwmon0/"
    boards.write(tmp_path, {monitor + "name": "ina219\n", monitor + "power1_input": "2500000\n"})
    assert PowerMeter(tmp_path).read(0.0) == pytest.approx(2.5)


def test_a_machine_without_sensors_has_no_figures(tmp_path):
    meter = PowerMeter(tmp_path)
    assert meter.source is None
    assert meter.read(1.0) is None
    assert mhz(tmp_path) is None
    assert usage(tmp_path) is None


def test_the_clock_rate_and_the_processor_time(tmp_path):
    boards.write(tmp_path, {"proc/cpuinfo": "processor\t: 0\ncpu MHz\t\t: 2595.124\n"})
    assert mhz(tmp_path) == pytest.approx(2595.124)
    for core, khz in enumerate((600_000, 1_800_000)):
        boards.write(tmp_path, {f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq": f"{khz}\n"})
    assert mhz(tmp_path) == 1800
    boards.write(tmp_path, {"proc/stat": "cpu  100 20 30 5000 9 4 6 50 0 0\ncpu0 1 1\ncpu1 1 1\nintr 5\n"})
    times = usage(tmp_path)
    assert (times.busy, times.stolen, times.cores) == (1.6, 0.5, 2)
