"""Options of cameras and `orilla cameras`, on a fake of the V4L2 calls, or on v4l2loopback if the kernel has it."""

import json
import subprocess
from pathlib import Path

import pytest
from helpers.fake_camera import MJPG, YUYV, fake_camera

from orilla.devices.errors import ConfigError, SourceError
from orilla.runtime.cli import main
from orilla.runtime.frame import Event
from orilla.runtime.sources import v4l2_structs as raw
from orilla.runtime.sources.camera import Camera
from orilla.runtime.sources.camera_options import CameraOptions
from orilla.runtime.sources.file_names import natural_key
from orilla.runtime.sources.registry import open_source
from orilla.runtime.sources.v4l2 import Device, device_paths

__all__ = ["fake_camera"]


def opened(spec):
    source = open_source(spec)
    try:
        return source.read(), source.read()
    finally:
        source.close()


def test_the_request_numbers_are_those_of_the_kernel():
    """The numbers were printed by a C program that includes `linux/videodev2.h`, on a 64-bit machine."""
    expected = {
        "QUERYCAP": 0x80685600,
        "ENUM_FMT": 0xC0405602,
        "ENUM_FRAMESIZES": 0xC02C564A,
        "ENUM_FRAMEINTERVALS": 0xC034564B,
        "QUERYCTRL": 0xC0445624,
        "G_CTRL": 0xC008561B,
        "S_CTRL": 0xC008561C,
        "TRY_FMT": 0xC0D05640 if raw.ALIGNMENT == 8 else 0xC0CC5640,
        "G_FMT": 0xC0D05604 if raw.ALIGNMENT == 8 else 0xC0CC5604,
        "G_PARM": 0xC0CC5615,
    }
    assert {name: getattr(raw, name) for name in expected} == expected


def test_the_driver_gets_what_was_asked_for(fake_camera):
    event, frame = opened("0?size=1280x720&fps=15&format=MJPG&exposure=10&gain=7")
    assert (event.kind, event.detail) == (
        "settings",
        "camera 0: asked for size=1280x720 format=mjpg fps=15 exposure=10 gain=7; "
        "the driver gave size=1280x720 format=mjpg fps=15 exposure=10 gain=7",
    )
    assert frame.image.shape == (720, 1280, 3)
    assert (fake_camera.code, fake_camera.values[0x9A0902], fake_camera.values[0x9A0901]) == (MJPG, 100, 1)


def test_a_rate_that_the_driver_changes_is_reported(fake_camera):
    event, _ = opened("/dev/video0?size=1280x720&fps=30&exposure=auto")
    assert event.detail.endswith("the driver gave size=1280x720 format=yuyv fps=10 exposure=auto")
    assert fake_camera.code == YUYV


def test_the_same_options_in_python(fake_camera):
    source = Camera.open(0, CameraOptions(size=(1280, 720), format="mjpg", fps=30))
    assert source.read().detail.endswith("the driver gave size=1280x720 format=mjpg fps=30")
    assert source.rate_hz == 30
    source.close()


def test_without_options_nothing_is_asked_or_reported(fake_camera):
    first, second = opened("0")
    assert not isinstance(first, Event)
    assert (first.index, second.index) == (0, 1)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("0?format=h264", "camera 0 has no format h264: choose mjpg, yuyv"),
        ("0?size=1920x1080&format=mjpg", "has no size 1920x1080 in the format mjpg: choose 640x480, 1280x720"),
        ("0?focus=3", "camera 0 has no control for focus=3: it has exposure, gain"),
        ("0?white_balance=auto", "has no control for white_balance=auto"),
        ("0?exposure=9000", "camera 0 rejected exposure=9000: its range is 0.3 to 204.7"),
        ("/dev/video9?fps=3", "no camera at /dev/video9: No such file"),
    ],
)
def test_a_camera_that_refuses_is_one_line(fake_camera, spec, message):
    with pytest.raises(SourceError, match=message) as caught:
        open_source(spec)
    assert "\n" not in str(caught.value)


def test_a_driver_that_keeps_its_format_is_one_line(fake_camera):
    fake_camera.stubborn = True
    with pytest.raises(SourceError, match=r"rejected size=1280x720, and gave 640x480 yuyv: another program may use it"):
        open_source("0?size=1280x720")


def test_a_device_that_captures_nothing_is_refused(fake_camera, capsys):
    fake_camera.captures = False
    with pytest.raises(SourceError, match="/dev/video0 does not capture video"):
        open_source("0?fps=3")
    assert main(["cameras"]) == 0
    assert capsys.readouterr().out.startswith("no camera found")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("0?siz=3", "unknown option of the source 0 'siz': did you mean size"),
        ("0?brightness=3", "exposure, focus, format, fps, gain, size, white_balance"),
        ("0?size=big", "size=big: expected width and height in pixels, such as 1280x720"),
        ("0?fps=0", "fps=0"),
        ("0?exposure=-1", "exposure=-1"),
        ("0?exposure=long", "exposure=long: expected a number"),
        ("0?fps=3&fps=4", "the option fps is given twice"),
        ("picamera2?format=mjpg", "choose from exposure, fps, gain, size"),
    ],
)
def test_a_wrong_option_is_one_line(spec, message):
    with pytest.raises(ConfigError, match=message) as caught:
        open_source(spec)
    assert "\n" not in str(caught.value)


def test_the_command_lists_cameras(fake_camera, capsys):
    assert main(["cameras", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["cameras"]
    assert (row["source"], row["name"], row["driver"], row["problem"]) == ("0", "Fake Camera", "uvcvideo", None)
    assert [entry["format"] for entry in row["formats"]] == ["mjpg", "yuyv"]
    assert row["formats"][1]["modes"][1] == {"size": [1280, 720], "largest": None, "fps": [10.0], "is_range": False}
    assert [control["name"] for control in row["controls"]] == ["Gain", "Auto Exposure", "Exposure Time"]
    assert row["controls"][2]["value"] == 156
    assert main(["cameras"]) == 0
    shown = capsys.readouterr().out
    assert "--source 0" in shown
    assert "1280x720" in shown


def test_a_dry_run_asks_the_driver(fake_camera, tiny_bundle, capsys):
    assert main(["run", str(tiny_bundle), "--source", "0?size=1280x720&format=mjpg", "--dry-run"]) == 0
    assert "the driver gives size=1280x720 format=mjpg" in capsys.readouterr().out
    assert main(["run", str(tiny_bundle), "--source", "0?size=9x9", "--dry-run"]) == 0
    assert "camera 0 has no size 9x9" in capsys.readouterr().out
    assert (fake_camera.width, fake_camera.code) == (640, YUYV), "a dry run changes nothing"


def test_the_loop_reports_the_settings(fake_camera, tiny_bundle, capsys):
    code = main(["run", str(tiny_bundle), "--source", "0?size=1280x720", "--frames", "2", "--sink", "none"])
    assert code == 0
    assert "asked for size=1280x720; the driver gave size=1280x720" in capsys.readouterr().err


def test_a_camera_of_v4l2loopback(tmp_path):
    """FFmpeg plays a test pattern into the loop device, as a USB camera would."""
    loops = [path for path in device_paths() if _driver(path) == "v4l2 loopback"]
    if not loops:
        pytest.skip("the kernel has no v4l2loopback device")
    command = ["ffmpeg", "-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=15", "-pix_fmt", "yuyv422"]
    player = subprocess.Popen([*command, "-f", "v4l2", loops[0]], stderr=subprocess.DEVNULL)
    try:
        event, frame = opened(f"{loops[0]}?size=320x240")
        assert "size=320x240" in event.detail
        assert frame.image.shape == (240, 320, 3)
    finally:
        player.kill()
        player.wait()


def _driver(path):
    try:
        with Device(path) as device:
            return device.capability().driver.decode()
    except SourceError:
        return None


def test_names_are_ordered_as_people_count():
    names = ["b", "a10", "a9", "A1", "10", "9b"]
    assert [path.name for path in sorted(map(Path, names), key=natural_key)] == ["9b", "10", "A1", "a9", "a10", "b"]
