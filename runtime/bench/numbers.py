"""Number format of reports."""

from __future__ import annotations

import math


def milliseconds(ms: float) -> str:
    """Format a time with three significant digits, without its unit."""
    return f"{ms:.{max(0, min(5, 2 - math.floor(math.log10(ms))))}f}" if ms > 0 else "0"
