"""The parser of TOML files: `tomllib` of the standard library, or `tomli` with Python 3.10, which has no `tomllib`."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from tomllib import TOMLDecodeError, loads
else:
    from tomli import TOMLDecodeError, loads

__all__ = ["TOMLDecodeError", "loads"]
