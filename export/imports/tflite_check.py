"""Check that LiteRT can run a `.tflite` file, and that equal inputs always give equal outputs."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np

from orilla.export.imports.foreign import ForeignTensor
from orilla.export.imports.foreign_check import UnusableModelError, check_inputs
from orilla.export.imports.trial import LIMIT_S, differing, sample
from orilla.runtime.engines.litert import tensor_details
from orilla.runtime.engines.litert_limits import POST_PROCESS, cause

SUPPORTED_CUSTOM = (POST_PROCESS, "Convolution2DTransposeBias", "MaxPoolingWithArgmax2D")
"""Custom operators that LiteRT's interpreter supports."""

FLEX = "Flex"
"""Prefix of TensorFlow's operator names. LiteRT does not contain these operators."""

RANDOM = ("RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL")
"""Operators that draw random numbers. Even with a fixed seed, two inferences differ."""

ASSIGNS = "ASSIGN_VARIABLE"
"""Operator that stores a value for later inferences."""


def check_operators(data: bytes, name: str) -> None:
    """Raise `ValueError` for operators that LiteRT does not contain, that draw random numbers, or that keep a state.

    Args:
        data: Content of the file. The operators of all its graphs are checked.
        name: Name of the file for messages.
    """
    from ai_edge_litert import schema_py_generated as schema

    names = {number: text for text, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    codes = schema.ModelT.InitFromPackedBuf(data, 0).operatorCodes
    custom = {(code.customCode or b"").decode(errors="replace") for code in codes if code.customCode}
    flex = sorted(text.removeprefix(FLEX) for text in custom if text.startswith(FLEX))
    if flex:
        msg = (
            f"{name} needs operators of TensorFlow, which LiteRT does not contain: {', '.join(flex)}; convert it "
            "without SELECT_TF_OPS, and compute these operators outside the model or replace their layers"
        )
        raise ValueError(msg)
    unknown = sorted(custom - set(SUPPORTED_CUSTOM))
    if unknown:
        msg = (
            f"{name} has custom operators, which no engine supports: {', '.join(unknown)}; convert the model without "
            "them, and compute them outside the model"
        )
        raise ValueError(msg)
    builtin = {names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "") for code in codes}
    random = sorted(builtin & set(RANDOM))
    if random:
        msg = f"{name} gives random outputs ({', '.join(random)}): convert it in inference mode, with training=False"
        raise ValueError(msg)
    if ASSIGNS in builtin:
        msg = (
            f"{name} keeps a state between inferences ({ASSIGNS}), which a bundle cannot reset: convert it with the "
            "state as an additional input and output"
        )
        raise ValueError(msg)


def check_signatures(interpreter: Any, name: str) -> None:
    """Raise `ValueError` if a file has several signatures, because it is then unknown which one to run."""
    signatures = list(interpreter.get_signature_list())
    if len(signatures) > 1:
        msg = (
            f"{name} has {len(signatures)} signatures ({', '.join(signatures)}), but a bundle runs one: convert it "
            "with the signature for inference only"
        )
        raise UnusableModelError(msg)


def check_tensors(interpreter: Any, name: str) -> None:
    """Raise `ValueError` if an input or output has a type or a quantisation that no engine supports."""
    for details in (*interpreter.get_input_details(), *interpreter.get_output_details()):
        kind = np.dtype(details["dtype"])
        if kind.kind not in "iufb":
            noun = "strings" if kind.kind in "SO" else f"values of type {kind.name}"
            advice = "strings outside the model" if kind.kind in "SO" else "them inside the model to float32"
            msg = f"{details['name']} of {name} contains {noun}, which no engine supports: convert {advice}"
            raise UnusableModelError(msg)
        if len(details["quantization_parameters"]["scales"]) > 1:
            msg = (
                f"{details['name']} of {name} is quantised per channel, but an input or output needs one scale: "
                "convert it with float inputs and outputs"
            )
            raise UnusableModelError(msg)


def trial(data: bytes, name: str) -> tuple[Any, list[np.ndarray]]:
    """Run a model twice on the same input. Return the interpreter, and the outputs.

    Raises:
        ValueError: LiteRT rejects the file, or the outputs of the two runs differ.
    """
    signal.alarm(LIMIT_S)  # The signal ends this process. `fork_server.call` reports it.
    try:
        interpreter = _opened(data)
        check_signatures(interpreter, name)
        check_inputs(
            [
                ForeignTensor(details["name"], tuple(map(int, details["shape"])), np.dtype(details["dtype"]).name)
                for details in interpreter.get_input_details()
            ]
        )
        check_tensors(interpreter, name)
        first, second = (_answers(interpreter) for _ in range(2))
    except (RuntimeError, ValueError) as error:
        if isinstance(error, UnusableModelError):
            raise
        msg = f"{name} cannot run: {_cause(data, error)}"
        raise ValueError(msg) from error
    signal.alarm(0)
    if (output := differing([array for _, array in first], [array for _, array in second])) is not None:
        differs = f"its output {first[output][0]} differs between two inferences on the same input"
        msg = f"{name} gives random outputs: {differs}"
        raise ValueError(msg)
    return interpreter, [array for _, array in first]


def _opened(data: bytes, **options: Any) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=1, **options)
    interpreter.allocate_tensors()
    return interpreter


def _answers(interpreter: Any) -> list[tuple[str, np.ndarray]]:
    """Return the name and value of each output. Several outputs may have the same name."""
    interpreter.reset_all_variables()
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], sample(tuple(details["shape"]), details["dtype"]))
    interpreter.invoke()
    _, outputs = tensor_details(interpreter)
    return [(name, interpreter.get_tensor(details["index"])) for name, details in outputs]


def _cause(data: bytes, error: Exception) -> str:
    """Return the cause of a failure. The model is run again without delegates, because a delegate hides the cause."""
    if "elegate" not in str(error):
        return cause(error)
    from ai_edge_litert.interpreter import OpResolverType

    try:
        _answers(_opened(data, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES))
    except (RuntimeError, ValueError) as plain:
        return cause(plain)
    return cause(error)
