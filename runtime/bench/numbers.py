"""Format numbers for reports."""

from __future__ import annotations

import math


def milliseconds(ms: float) -> str:
    """Format a time in milliseconds with three significant digits and without the unit."""
    return f"{ms:.{max(0, min(5, 2 - math.floor(math.log10(ms))))}f}" if ms > 0 else "0"
