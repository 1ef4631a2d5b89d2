"""The table of the checks that a guard makes. `guard.Guard` implements them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orilla.runtime.frame import Doubt

CHECKS: dict[Doubt, str] = {
    "dark": "almost all pixels are black",
    "bright": "almost all pixels are white",
    "covered": "most of the frame has no structure",
    "blurred": "no edge is sharp",
    "unfamiliar": "brightness, colours or structure are far from those of the calibration data",
    "frozen": "identical frames arrived for at least a second",
}
"""The checks. Each value describes the frames that fail."""
