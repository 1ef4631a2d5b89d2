"""The options of `orilla run` for a shadow check."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from orilla.devices.errors import ConfigError

if TYPE_CHECKING:
    from orilla.runtime.loop.shadow import Shadow

EXACT = "float32"
"""Value of `--shadow` for the float32 variant of the bundle, whatever its name is."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--shadow",
        metavar="VARIANT",
        help=f"in idle time, compare answers with those of another variant; {EXACT} is the bundle's float32 variant",
    )
    parser.add_argument(
        "--shadow-every", metavar="N", type=int, help="compare every N-th frame (default: 30); implies --shadow"
    )
    parser.add_argument(
        "--shadow-min",
        metavar="SHARE",
        type=float,
        help="report a drift if the mean agreement is below this share, 0-1 (default: 0.05 below the agreement at "
        "export); implies --shadow",
    )
    parser.add_argument(
        "--shadow-keep",
        metavar="FOLDER",
        help="store the 100 frames with the lowest agreement, for orilla export --add-calibration; implies --shadow",
    )


def shadow_of(arguments: argparse.Namespace) -> Shadow | None:
    """Return the settings of the shadow check, or None if there is none.

    Raises:
        ConfigError: An option is invalid, or there are several sources.
    """
    given = {"every": arguments.shadow_every, "min_agreement": arguments.shadow_min, "keep": arguments.shadow_keep}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if arguments.shadow is None and not options:
        return None
    if len(arguments.source) > 1:
        msg = "--shadow needs exactly one --source: run a separate process for each camera"
        raise ConfigError(msg)
    from orilla.runtime.loop.shadow import Shadow

    try:
        return Shadow(None if arguments.shadow in (None, EXACT) else arguments.shadow, **options)
    except ConfigError as error:
        msg = f"--shadow: {error}"
        raise ConfigError(msg) from error
