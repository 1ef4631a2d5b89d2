"""Everything that runs on the robot: bundles, engines, and the camera loop."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import orilla.devices  # noqa: F401 - It switches off the telemetry of ONNX Runtime.

if TYPE_CHECKING:
    from orilla.runtime.composite import cascade as cascade
    from orilla.runtime.composite import together as together
    from orilla.runtime.frame import Event as Event
    from orilla.runtime.frame import Tick as Tick
    from orilla.runtime.model import Model as Model
    from orilla.runtime.sources.registry import open_source as open_source
    from orilla.runtime.tracking.track import Track as Track

    open = Model.open

__all__ = ["Event", "Model", "Tick", "Track", "cascade", "open", "open_source", "together"]

_HOMES = {
    "Event": "frame",
    "Tick": "frame",
    "Track": "tracking.track",
    "Model": "model",
    "open": "model",
    "cascade": "composite",
    "together": "composite",
    "open_source": "sources.registry",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that `import orilla.runtime` takes almost no time."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    module = import_module(f"{__name__}.{_HOMES[name]}")
    return module.Model.open if name == "open" else getattr(module, name)
