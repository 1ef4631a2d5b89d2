"""Procedural road scenes with exact labels. A seed determines a drive, whose frames are rendered one by one.

A pinhole camera looks at flat ground. A pixel `y` rows below the horizon sees the ground at the distance `z = focal *
height / y` (Hartley & Zisserman, "Multiple View Geometry", ch. 8). The position on the ground determines whether a
pixel shows the road, a lane marking, a shadow or the verge. Objects are painted on top, from far to near.
"""

from orilla.runtime.scenes.ground import CLASSES
from orilla.runtime.scenes.objects import KINDS, VisibleObject, visible_objects
from orilla.runtime.scenes.render import render

__all__ = ["CLASSES", "KINDS", "VisibleObject", "render", "visible_objects"]
