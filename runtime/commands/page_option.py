"""The option `--page` of the commands that write an HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path

from orilla.devices.errors import ConfigError


def add_page(parser: argparse.ArgumentParser) -> None:
    """Add the option to a parser."""
    parser.add_argument(
        "--page", type=Path, metavar="FILE.html", help="also write an HTML page that opens without a network"
    )


def check_page(page: Path) -> None:
    """Check the path of a page before the work begins.

    Raises:
        ConfigError: The name does not end in `.html`.
        OutputError: The file cannot be written.
    """
    from orilla.runtime.files import check_writable

    if page.suffix not in (".html", ".htm"):
        msg = f"--page {page}: give a file NAME.html"
        raise ConfigError(msg)
    check_writable(page)
