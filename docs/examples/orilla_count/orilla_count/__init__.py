"""Count objects with Orilla. This file contains the rows of the sink and the engine, and imports no large package."""

from orilla.runtime.engines.registry import Engine
from orilla.runtime.sinks.registry import SinkKind

SINK = SinkKind("tally:FILE.csv", "orilla_count.sink")

ENGINE = Engine(
    module="orilla_count.engine",
    format="tflite",
    packages=("ai_edge_litert",),
    install="pip install ai-edge-litert",
)
