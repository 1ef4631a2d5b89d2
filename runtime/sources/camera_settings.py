"""Apply the options of a camera through V4L2, and report the requested settings and those that the driver chose."""

from __future__ import annotations

from typing import NamedTuple

from orilla.devices.errors import SourceError
from orilla.runtime.sources.camera_options import CameraOptions, Setting, asked_text
from orilla.runtime.sources.v4l2 import Device, FrameSizes, fourcc_name

MAX_LISTED = 12
"""Maximum number of sizes that a message lists."""


class ControlIds(NamedTuple):
    """The V4L2 controls of a setting.

    Source: the Linux header `v4l2-controls.h`.
    """

    value: int
    """Identifier of the control with the value."""
    auto: int
    """Identifier of the control that turns automatic control on or off."""
    auto_values: tuple[int, ...] = (1,)
    """Values of the second control that turn on automatic control, in the order in which they are tried."""
    manual: int = 0
    """Value of the second control that turns off automatic control."""
    per_unit: float = 1.0
    """Number of the driver's units per unit of the option."""


CONTROLS = {
    # The driver's unit of the exposure time is 100 microseconds. Most USB cameras turn on automatic exposure with the
    # value 3 (aperture priority).
    "exposure": ControlIds(0x9A0902, 0x9A0901, (3, 0), 1, 10.0),
    "gain": ControlIds(0x980913, 0x980912),
    "focus": ControlIds(0x9A090A, 0x9A090C),
    "white_balance": ControlIds(0x98091A, 0x98090C),
}
"""V4L2 control ids of each camera setting."""


def sizes_text(sizes: list[FrameSizes]) -> str:
    """List sizes in one line, such as `640x480, 1280x720`."""
    texts = []
    for entry in sizes[:MAX_LISTED]:
        texts.append("x".join(map(str, entry.size_wh)))
        if entry.largest_wh is not None:
            texts[-1] += " to " + "x".join(map(str, entry.largest_wh))
    return ", ".join(texts) + (", ..." if len(sizes) > MAX_LISTED else "")


def check_mode(device: Device, name: str, options: CameraOptions) -> tuple[tuple[int, int], int]:
    """Return the size and the code of the pixel format that the camera will use with these options.

    Raises:
        SourceError: The camera does not have the size or the format. The message lists the available ones.
    """
    device.capability()
    formats, current = device.formats(), device.format()
    if options.format is not None and options.format not in formats:
        msg = f"{name} has no format {options.format}: choose {', '.join(formats)} (orilla cameras lists the sizes)"
        raise SourceError(msg)
    code = current.pixelformat if options.format is None else formats[options.format][0]
    asked = options.size or (current.width, current.height)
    given = device.would_give(asked, code)
    if options.size is not None and (given.width, given.height) != tuple(options.size):
        sizes = device.sizes(code)
        listed = f": choose {sizes_text(sizes)}" if sizes else f", but {given.width}x{given.height}"
        msg = f"{name} has no size {asked[0]}x{asked[1]} in the format {fourcc_name(code)}{listed}"
        raise SourceError(msg)
    return (given.width, given.height), given.pixelformat


def apply_controls(device: Device, name: str, options: CameraOptions) -> None:
    """Set exposure, gain, focus and white balance.

    Raises:
        SourceError: The camera does not have a control, or does not accept a value.
    """
    for setting, value in options.settings().items():
        if not _set(device, CONTROLS[setting], value):
            known = {control.id: control for control in device.controls()}
            ids, shown = CONTROLS[setting], f"{value:g}" if isinstance(value, float | int) else value
            control = known.get(ids.auto if value == "auto" else ids.value)
            if control is None:
                have = [other for other, own in CONTROLS.items() if own.value in known]
                msg = f"{name} has no control for {setting}={shown}: it has {', '.join(have) or 'none of them'}"
            else:
                low, high = control.minimum / ids.per_unit, control.maximum / ids.per_unit
                msg = f"{name} rejected {setting}={shown}: its range is {low:g} to {high:g}"
            raise SourceError(msg)


def _set(device: Device, ids: ControlIds, value: Setting) -> bool:
    if value == "auto":
        return any(device.set_value(ids.auto, auto) for auto in ids.auto_values)
    assert isinstance(value, float | int)
    device.set_value(ids.auto, ids.manual)  # Cameras without automatic control reject this.
    return device.set_value(ids.value, round(value * ids.per_unit))


def report(device: Device, name: str, options: CameraOptions) -> str:
    """Describe in one line the requested settings and those that the driver chose."""
    now = device.format()
    given = {"size": f"{now.width}x{now.height}", "format": fourcc_name(now.pixelformat)}
    fps = device.fps()
    if fps is not None:
        given["fps"] = f"{fps:g}"
    for setting in options.settings():
        given[setting] = _value_text(device, CONTROLS[setting])
    return f"{name}: asked for {asked_text(options)}; the driver gave " + " ".join(
        f"{key}={value}" for key, value in given.items()
    )


def _value_text(device: Device, ids: ControlIds) -> str:
    if device.value(ids.auto) in ids.auto_values:
        return "auto"
    value = device.value(ids.value)
    return "unknown" if value is None else f"{value / ids.per_unit:g}"
