"""The generated video of `orilla demo`, and the contact sheet of its answers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from orilla.devices.errors import OutputError
from orilla.runtime import scenes
from orilla.runtime.files import replacing, write_bytes

CLIP_HW, CLIP_FRAMES, CLIP_HZ = (360, 640), 250, 25.0

CLIP_DRIVES = tuple(10_000_000_000 + drive for drive in (7, 12, 18, 26, 31))
"""Seeds of the drives in the clip. No split of a `scenes` data set contains these drives."""

SHEET_COLUMNS, SHEET_ROWS = 4, 3
CELL_WH = (320, 180)


def write_clip(path: Path) -> None:
    """Write a video of procedural scenes. Raises `OutputError`."""
    height, width = CLIP_HW
    with replacing(path) as temporary:
        writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), CLIP_HZ, (width, height))
        if not writer.isOpened():
            msg = f"cannot write {path}: OpenCV cannot create the video"
            raise OutputError(msg)
        for drive in CLIP_DRIVES:
            for index in range(CLIP_FRAMES // len(CLIP_DRIVES)):
                writer.write(scenes.render(drive, index / CLIP_HZ, CLIP_HW)[0])
        writer.release()


def write_contact_sheet(video: Path, sheet: Path) -> None:
    """Write a PNG that shows evenly spaced frames of a video."""
    capture = cv2.VideoCapture(str(video))
    frames = []
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        frames.append(cv2.resize(frame, CELL_WH, interpolation=cv2.INTER_AREA))
    capture.release()
    chosen = np.linspace(0, len(frames) - 1, SHEET_COLUMNS * SHEET_ROWS).round().astype(int)
    cells = [frames[index] for index in chosen]
    rows = [np.hstack(cells[row * SHEET_COLUMNS : (row + 1) * SHEET_COLUMNS]) for row in range(SHEET_ROWS)]
    write_bytes(sheet, cv2.imencode(".png", np.vstack(rows))[1].tobytes())
