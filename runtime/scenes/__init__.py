"""Procedural road scenes with exact labels: a seeded drive, drawn frame by frame.

A pinhole camera looks at flat ground. A pixel `y` rows below the horizon sees the ground at `z = focal * height / y`
metres (Hartley & Zisserman, "Multiple View Geometry", ch. 8). Road, marks, shadows and verge are functions of each
pixel's ground position. Objects are painted over them from far to near.
"""

from orilla.runtime.scenes.ground import CLASSES
from orilla.runtime.scenes.render import render

__all__ = ["CLASSES", "render"]
