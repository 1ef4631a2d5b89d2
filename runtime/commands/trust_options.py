"""The option `--trust` of the commands that open bundles."""

from __future__ import annotations

import argparse


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Declare the option `--trust`."""
    parser.add_argument(
        "--trust",
        action="append",
        metavar="KEY",
        help="public key, as `orilla sign --new-key` writes it: reject bundles that are unsigned, changed, signed by "
        "another key, or older than before; may be repeated",
    )
