"""What runs on the robot: bundles, engines, the camera loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orilla.runtime.model import Model as Model
    from orilla.runtime.sources.source import open_source as open_source

    open = Model.open

__all__ = ["Model", "open", "open_source"]


def __getattr__(name: str) -> Any:
    """Imports at first use, so that `import orilla.runtime` costs nothing."""
    if name in ("open", "Model"):
        from orilla.runtime.model import Model

        return Model.open if name == "open" else Model
    if name == "open_source":
        from orilla.runtime.sources.source import open_source

        return open_source
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
