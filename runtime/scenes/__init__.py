"""Procedural road scenes with exact labels: a seeded drive, drawn frame by frame.

A pinhole camera over a flat ground: a pixel `y` rows below the horizon sees the ground at `z = focal * height / y`
metres (Hartley & Zisserman, "Multiple View Geometry", ch. 8), so road, marks, shadows and verge are functions of the
ground position of each pixel, and what stands on the ground is painted over them from far to near.
"""

from orilla.runtime.scenes.ground import CLASSES
from orilla.runtime.scenes.render import render

__all__ = ["CLASSES", "render"]
