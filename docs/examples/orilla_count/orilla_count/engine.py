"""The engine `litert-reference`: LiteRT with its reference kernels, which are slow but easy to verify."""

from __future__ import annotations

from ai_edge_litert.interpreter import Interpreter, OpResolverType

from orilla.devices.errors import EngineError, OrillaError
from orilla.runtime.engines.litert import LiteRTSession, first_line, named
from orilla.runtime.engines.session import UNBOUND, Binding, Session


def load(data: bytes, threads: int, binding: Binding = UNBOUND) -> Session:
    """Create a session for the bytes of a `.tflite` file. Raise `EngineError` if LiteRT rejects them."""
    try:
        interpreter = Interpreter(
            model_content=data, num_threads=threads, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
        )
        interpreter.allocate_tensors()
        return LiteRTSession(interpreter, f"{named('ai_edge_litert')} reference", data, threads, binding)
    except (RuntimeError, ValueError, OrillaError) as error:
        msg = f"litert-reference cannot load this variant: {first_line(error)}"
        raise EngineError(msg) from error
