"""The structures and request numbers of V4L2's ioctls.

Source: the Linux header `videodev2.h`. The request numbers contain the sizes of the structures.
"""

from __future__ import annotations

import ctypes

U8, U32, S32 = ctypes.c_uint8, ctypes.c_uint32, ctypes.c_int32


class Capability(ctypes.Structure):
    """`struct v4l2_capability`."""

    _fields_ = [
        *(("driver", ctypes.c_char * 16), ("card", ctypes.c_char * 32), ("bus_info", ctypes.c_char * 32)),
        *(("version", U32), ("capabilities", U32), ("device_caps", U32), ("reserved", U32 * 3)),
    ]


class FormatDescription(ctypes.Structure):
    """`struct v4l2_fmtdesc`."""

    _fields_ = [
        *(("index", U32), ("type", U32), ("flags", U32), ("description", ctypes.c_char * 32)),
        *(("pixelformat", U32), ("mbus_code", U32), ("reserved", U32 * 3)),
    ]


class FrameSize(ctypes.Structure):
    """`struct v4l2_frmsizeenum`. The values are width and height, or minimum, maximum and step of both."""

    _fields_ = [("index", U32), ("pixel_format", U32), ("type", U32), ("values", U32 * 6), ("reserved", U32 * 2)]


class FrameInterval(ctypes.Structure):
    """`struct v4l2_frmivalenum`. The values are fractions in seconds: one interval, or a range and its step."""

    _fields_ = [
        *(("index", U32), ("pixel_format", U32), ("width", U32), ("height", U32), ("type", U32)),
        *(("values", U32 * 6), ("reserved", U32 * 2)),
    ]


class ControlQuery(ctypes.Structure):
    """`struct v4l2_queryctrl`."""

    _fields_ = [
        *(("id", U32), ("type", U32), ("name", ctypes.c_char * 32), ("minimum", S32), ("maximum", S32)),
        *(("step", S32), ("default", S32), ("flags", U32), ("reserved", U32 * 2)),
    ]


class ControlValue(ctypes.Structure):
    """`struct v4l2_control`."""

    _fields_ = [("id", U32), ("value", S32)]


ALIGNMENT = ctypes.sizeof(ctypes.c_void_p)
"""The union in `struct v4l2_format` contains pointers, so it has the alignment of a pointer."""


class Format(ctypes.Structure):
    """`struct v4l2_format` for a camera, whose union has 200 bytes."""

    _fields_ = [
        *(
            ("type", U32),
            ("padding", U8 * (ALIGNMENT - 4)),
            ("width", U32),
            ("height", U32),
            ("pixelformat", U32),
            ("field", U32),
        ),
        *(("bytesperline", U32), ("sizeimage", U32), ("rest", U8 * (200 - 24))),
    ]


class StreamParameters(ctypes.Structure):
    """`struct v4l2_streamparm` for a camera, whose union has 200 bytes. The fraction is the interval in seconds."""

    _fields_ = [
        *(("type", U32), ("capability", U32), ("capturemode", U32), ("numerator", U32), ("denominator", U32)),
        ("rest", U8 * (200 - 16)),
    ]


READ, READ_WRITE = 2, 3


def _request(direction: int, number: int, struct: type[ctypes.Structure]) -> int:
    """Return the number of an ioctl, as the macros `_IOR` and `_IOWR` of `asm-generic/ioctl.h` compute it."""
    return direction << 30 | ctypes.sizeof(struct) << 16 | ord("V") << 8 | number


QUERYCAP = _request(READ, 0, Capability)
ENUM_FMT = _request(READ_WRITE, 2, FormatDescription)
G_FMT = _request(READ_WRITE, 4, Format)
G_PARM = _request(READ_WRITE, 21, StreamParameters)
G_CTRL = _request(READ_WRITE, 27, ControlValue)
S_CTRL = _request(READ_WRITE, 28, ControlValue)
QUERYCTRL = _request(READ_WRITE, 36, ControlQuery)
TRY_FMT = _request(READ_WRITE, 64, Format)
ENUM_FRAMESIZES = _request(READ_WRITE, 74, FrameSize)
ENUM_FRAMEINTERVALS = _request(READ_WRITE, 75, FrameInterval)
