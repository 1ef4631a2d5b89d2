"""The command `orilla cameras`: list this machine's cameras with their formats, sizes, frame rates and controls."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from orilla.devices.errors import SourceError
from orilla.runtime.commands.result import CommandResult

if TYPE_CHECKING:
    from orilla.runtime.sources.v4l2 import Device, FrameSizes
    from orilla.runtime.terminal.console import ResultConsole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options. There are none."""
    del parser


@dataclass(frozen=True, slots=True)
class Mode:
    """An image size that a camera offers for a pixel format, with its frame rates."""

    size: tuple[int, int]
    """Width and height in pixels."""
    largest: tuple[int, int] | None
    """Largest width and height, if all sizes in a range are possible. Otherwise None."""
    fps: list[float]
    """Frame rates in frames per second. If `is_range` is True, only the lowest and the highest are listed."""
    is_range: bool


@dataclass(frozen=True, slots=True)
class PixelFormatRow:
    """A pixel format of a camera."""

    format: str
    """Name for the option `format`, such as `mjpg`."""
    description: str
    modes: list[Mode]


@dataclass(frozen=True, slots=True)
class ControlRow:
    """A control of a camera. Its values are in the unit of the driver."""

    name: str
    minimum: int
    maximum: int
    step: int
    default: int
    value: int | None


@dataclass(frozen=True, slots=True)
class CameraRow:
    """A camera of this machine."""

    source: str
    """Value of `--source` that opens the camera."""
    name: str
    driver: str = ""
    formats: list[PixelFormatRow] = field(default_factory=list)
    controls: list[ControlRow] = field(default_factory=list)
    problem: str | None = None
    """Reason why the camera cannot be opened. None if it can be opened."""


@dataclass(frozen=True, slots=True)
class CamerasResult(CommandResult):
    """The cameras of this machine."""

    cameras: list[CameraRow]

    def render(self, console: ResultConsole) -> None:
        """Print a table for each camera."""
        if not self.cameras:
            console.print_line("no camera found: connect one, or use a URL, a video, a folder or scenes as --source")
        for camera in self.cameras:
            console.print_line(
                f"--source {camera.source}   {camera.name}" + (f" ({camera.driver})" if camera.driver else "")
            )
            if camera.problem is not None:
                console.print_line(f"  {camera.problem}")
            _print_tables(console, camera)


def execute(arguments: argparse.Namespace) -> CamerasResult:
    """Query the drivers of all cameras."""
    del arguments
    from orilla.runtime.sources.v4l2 import device_paths

    rows = [row for path in device_paths() if (row := _camera(path)) is not None]
    return CamerasResult([*rows, *_pi_cameras()])


def _camera(path: str) -> CameraRow | None:
    """Describe a device, or return None if it does not capture video."""
    from orilla.runtime.sources.v4l2 import Device

    source = path.removeprefix("/dev/video")
    try:
        device = Device(path)
    except SourceError as error:
        return CameraRow(source, path, problem=str(error))
    with device:
        try:
            capability = device.capability()
        except SourceError:  # A camera often has additional device files, for metadata.
            return None
        formats = [
            PixelFormatRow(name, description, [_mode(size) for size in device.sizes(code)])
            for name, (code, description) in device.formats().items()
        ]
        name, driver = (data.decode(errors="replace") for data in (capability.card, capability.driver))
        return CameraRow(source, name, driver, formats, _controls(device))


def _mode(sizes: FrameSizes) -> Mode:
    return Mode(sizes.size_wh, sizes.largest_wh, list(sizes.rates.fps), sizes.rates.is_range)


def _controls(device: Device) -> list[ControlRow]:
    return [
        ControlRow(entry.name, entry.minimum, entry.maximum, entry.step, entry.default, entry.value)
        for entry in device.controls()
    ]


def _pi_cameras() -> list[CameraRow]:
    """Describe the cameras that picamera2 finds. The list is empty if it is not installed."""
    try:
        module = import_module("picamera2")
        found = module.Picamera2.global_camera_info()
    except (ImportError, RuntimeError, AttributeError):
        return []
    return [
        CameraRow(f"picamera2:{number}", str(camera.get("Model", "unknown")), "libcamera")
        for number, camera in enumerate(found)
    ]


def _print_tables(console: ResultConsole, camera: CameraRow) -> None:
    from rich.table import Table

    modes = Table(box=None, padding=(0, 2, 0, 2))
    for column in ("format", "size", "frames per second"):
        modes.add_column(column)
    for row in camera.formats:
        for mode in row.modes:
            modes.add_row(row.format, _size_text(mode), _fps_text(mode))
        if not row.modes:
            modes.add_row(row.format, "any", "")
    if camera.formats:
        console.print_table(modes)
    controls = Table(box=None, padding=(0, 2, 0, 2))
    for column in ("control", "lowest", "highest", "default", "now"):
        controls.add_column(column)
    for control in camera.controls:
        numbers = (control.minimum, control.maximum, control.default, control.value)
        controls.add_row(control.name, *("" if number is None else str(number) for number in numbers))
    if camera.controls:
        console.print_table(controls)


def _size_text(mode: Mode) -> str:
    sizes = [mode.size] if mode.largest is None else [mode.size, mode.largest]
    return " to ".join(f"{width}x{height}" for width, height in sizes)


def _fps_text(mode: Mode) -> str:
    return (" to " if mode.is_range else ", ").join(f"{fps:g}" for fps in mode.fps)
