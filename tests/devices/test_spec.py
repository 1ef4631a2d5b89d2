"""The catalogue of devices, and the file with the user's devices."""

import pytest

from orilla.devices.errors import ConfigError
from orilla.devices.spec import catalog, own_file
from orilla.runtime.engines import registry

ROVER = """
# mine
[devices.rover]
like = "pi5"
title = "Our rover"
cores = 2
engines = ["litert", "onnx"]
latencies = [{ model = "road", precision = "int8", engine = "litert", ms = 11, source = "measured here" }]
"""


@pytest.fixture
def own(tmp_path):
    """Return a function that writes a file with the user's devices and returns its path."""

    def write(text):
        path = tmp_path / "devices.toml"
        path.write_text(text)
        return path

    return write


def test_the_catalogue_has_the_engines_of_the_registry():
    assert set(catalog().engines) == set(registry.ENGINES)


def test_every_entry_has_a_source():
    shipped = catalog()
    for spec in (*shipped.devices.values(), *shipped.engines.values()):
        assert len(spec.source) > 10
    for spec in shipped.devices.values():
        assert all(latency.source and latency.ms > 0 for latency in spec.latencies)
        assert spec.threads == max(1, min(4, spec.cores - 1))


def test_a_user_s_device_inherits_from_another(own):
    rover = catalog(own(ROVER)).device("rover")
    assert (rover.cpu, rover.mhz, rover.title) == ("Cortex-A76", 2400, "Our rover")
    assert (rover.cores, rover.threads) == (2, 1)
    assert rover.match == ()
    assert [latency.ms for latency in rover.latencies] == [11.0]
    assert catalog().device("pi5").cores == 4


def test_a_user_s_device_replaces_one_of_the_same_name(own):
    changed = catalog(own('[devices.pi4]\nlike = "pi4"\nmhz = 2000\nmatch = ["Raspberry Pi 4"]\n'))
    assert changed.device("pi4").mhz == 2000
    assert changed.of_board("Raspberry Pi 4 Model B Rev 1.5") == "pi4"


def test_a_replaced_device_keeps_what_is_not_given(own):
    changed = catalog(own('[devices.pi4]\nlike = "pi4"\nmhz = 2000\n'))
    assert changed.of_board("Raspberry Pi 4 Model B Rev 1.5") == "pi4"
    assert len(changed.device("pi4").latencies) == len(catalog().device("pi4").latencies)


def test_environment_variables_select_the_file(own, monkeypatch):
    monkeypatch.setenv("ORILLA_DEVICES", str(own(ROVER)))
    assert "rover" in catalog().devices
    monkeypatch.setenv("ORILLA_DEVICES", "/nowhere.toml")
    with pytest.raises(ConfigError, match=r"no such file: /nowhere.toml"):
        catalog()
    monkeypatch.delenv("ORILLA_DEVICES")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/etc/xdg")
    assert str(own_file()) == "/etc/xdg/orilla/devices.toml"


def test_an_unknown_device_names_the_known_ones():
    with pytest.raises(ConfigError, match="unknown device 'pi44': did you mean pi4"):
        catalog().device("pi44")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (ROVER.replace("cores", "kernels"), r":6: unknown key 'kernels': .*hoose from accelerators, arch, cores,"),
        (ROVER.replace('"pi5"', '"pi9"'), r":4: unknown device 'pi9': .*hoose from aarch64, coral-dev"),
        (ROVER.replace('"litert", "onnx"', '"litert", "oonx"'), r":7: unknown engine 'oonx': did you mean onnx"),
        (ROVER.replace("cores = 2", 'cores = "two"'), r":6: cores = 'two': must be a whole number above 0"),
        (ROVER.replace("cores = 2", "cores = true"), r":6: cores = True: must be a whole number"),
        (ROVER.replace("ms = 11", "ms = -1"), r":8: ms = -1: must be a number above 0"),
        (ROVER.replace("ms = 11", "msec = 11"), r":8: unknown key 'msec': did you mean ms"),
        (ROVER.replace('["litert", "onnx"]', '"litert"'), r":7: engines = 'litert': must be a list"),
        (ROVER.replace('like = "pi5"\n', ""), r":3: \[devices.rover\] has no (source|precisions)"),
        (ROVER.replace('"Our rover"', ""), r"Invalid value \(at line 5"),
        ("[device.rover]\n", r":1: unknown key 'device': did you mean devices"),
        (ROVER.replace('"pi5"', '["pi5"]'), r":4: like = .* must be a string"),
        ("x = " + "[" * 3000, "devices.toml: "),
        (
            ROVER.replace("cores = 2", 'cores = "two"').replace("ms = 11", "msec = 11"),
            r"has 2 errors: line 6: cores = 'two': must be .*; line 8: unknown key 'msec': did you mean ms\?",
        ),
        ("devices = 3\n", r":1: devices must contain tables"),
        ("\n\n[devices]\nrover = 3\n", r":3: devices must contain tables"),
    ],
)
def test_an_invalid_file_is_rejected_with_the_line(own, text, match):
    with pytest.raises(ConfigError, match=match) as caught:
        catalog(own(text))
    assert "\n" not in str(caught.value)
