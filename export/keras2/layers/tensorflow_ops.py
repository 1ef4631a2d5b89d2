"""Functions that translate calls to TensorFlow functions, which Keras 2 stores as separate layers.

The translated layer calls the same TensorFlow function, so it computes the same values. Only functions that compute
values from tensors are allowed. Functions that read files, call Python code or draw random numbers are rejected.
"""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import keras
from keras import layers

from orilla.export.keras2.activations import PACKAGE
from orilla.export.keras2.config import LayerConfig
from orilla.export.keras2.layers.translator import Translation, Translator, layer_name
from orilla.export.keras2.origin import UntranslatableError
from orilla.export.keras2.part import Part, as_sequence

MODULES = ("math.", "nn.", "linalg.", "image.", "signal.", "bitwise.")
"""TensorFlow modules whose functions may be called, except those with a word of `FORBIDDEN` in their name."""

FORBIDDEN = ("random", "dropout", "decode", "encode", "sampled", "nce_loss", "draw_", "fractional", "_v3")

FUNCTIONS = frozenset(
    """
    abs acos acosh add add_n argmax argmin argsort asin asinh atan atan2 atanh batch_to_space boolean_mask
    broadcast_to cast ceil clip_by_norm clip_by_value complex concat constant convert_to_tensor cos cosh cumsum
    divide einsum ensure_shape equal exp expand_dims eye fill floor gather gather_nd greater greater_equal identity
    less less_equal linspace logical_and logical_not logical_or matmul maximum meshgrid minimum multiply negative
    norm not_equal one_hot ones ones_like pad pow range rank realdiv reduce_all reduce_any reduce_logsumexp
    reduce_max reduce_mean reduce_min reduce_prod reduce_sum repeat reshape reverse roll round scalar_mul
    searchsorted sigmoid sign sin sinh size slice sort space_to_batch split sqrt square squeeze stack stop_gradient
    strided_slice subtract tan tanh tensor_scatter_nd_add tensor_scatter_nd_update tensordot tile transpose truediv
    truncatediv unstack where zeros zeros_like shape sequence_mask scatter_nd
    """.split()  # noqa: SIM905 - long lists of names are easier to read as text.
)
"""Functions outside `MODULES` that may be called, such as `tf.add`."""

OPERATORS = {
    "add": "math.add",
    "sub": "math.subtract",
    "mul": "math.multiply",
    "truediv": "math.truediv",
    "div": "math.truediv",
    "floordiv": "math.floordiv",
    "mod": "math.floormod",
    "pow": "math.pow",
    "matmul": "linalg.matmul",
    "neg": "math.negative",
    "abs": "math.abs",
    "eq": "math.equal",
    "ne": "math.not_equal",
    "lt": "math.less",
    "le": "math.less_equal",
    "gt": "math.greater",
    "ge": "math.greater_equal",
    "and": "math.logical_and",
    "or": "math.logical_or",
}
"""TensorFlow function for each Python operator in a file, such as `__operators__.add`."""

OPERATIONS = frozenset(
    """
    Abs Add AddN AddV2 All Any ArgMax ArgMin AvgPool BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchToSpaceND BiasAdd
    BroadcastTo Cast Ceil ClipByValue ConcatV2 Conv2D Cos Cumsum DepthToSpace DepthwiseConv2dNative Div DivNoNan
    Einsum Elu Equal Erf Exp ExpandDims Expm1 Fill Floor FloorDiv FloorMod FusedBatchNormV3 Gather GatherNd GatherV2
    Greater GreaterEqual Identity LeakyRelu Less LessEqual Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr
    MatMul Max MaxPool Maximum Mean Min Minimum MirrorPad Mul Neg NotEqual OneHot OnesLike Pack Pad PadV2 Pow Prod
    Range Rank RealDiv Reciprocal Relu Relu6 Reshape ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor
    ReverseV2 Round Rsqrt Select SelectV2 Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign
    SpaceToBatchND SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze StopGradient StridedSlice Sub Sum
    Tan Tanh Tile TopKV2 Transpose TruncateDiv Unpack Where ZerosLike
    """.split()  # noqa: SIM905 - long lists of names are easier to read as text.
)
"""TensorFlow operations that a `TensorFlowOpLayer` may run."""


@keras.saving.register_keras_serializable(PACKAGE)
class FunctionCall(layers.Layer):
    """Layer that calls a TensorFlow function."""

    def __init__(self, function: str, first: Any, arguments: dict[str, Any], **options: Any) -> None:
        super().__init__(autocast=False, **options)
        self.function, self.first, self.arguments = function, first, arguments

    def build(self, *_: Any) -> None:
        """Do nothing, because the layer has no weights."""

    def call(self, tensors: Any) -> Any:
        """Call the function with its arguments, in which the tensors replace the numbered placeholders."""
        first, arguments = (_filled(value, as_sequence(tensors)) for value in (self.first, self.arguments))
        return _function(self.function)(first, **arguments)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration."""
        settings = {"function": self.function, "first": self.first, "arguments": self.arguments}
        return {**super().get_config(), **settings}


PLACE = "tensor of this call"
"""Key of a placeholder: a dictionary that replaces a tensor. Its value is the index of the tensor."""


def _numbered(value: Any, tensors: list[Any]) -> Any:
    """Replace each tensor in a structure with a numbered placeholder, and append the tensor to `tensors`."""
    if isinstance(value, keras.KerasTensor):
        tensors.append(value)
        return {PLACE: len(tensors) - 1}
    if isinstance(value, dict):
        return {key: _numbered(one, tensors) for key, one in value.items()}
    return [_numbered(one, tensors) for one in value] if isinstance(value, list | tuple) else value


def _filled(value: Any, tensors: Any) -> Any:
    """Replace each numbered placeholder in a structure with its tensor."""
    if isinstance(value, dict):
        if PLACE in value:
            return tensors[value[PLACE]]
        return {key: _filled(one, tensors) for key, one in value.items()}
    return [_filled(one, tensors) for one in value] if isinstance(value, list | tuple) else value


def _function(name: str) -> Any:
    """Return the TensorFlow function with the given name in the file."""
    import tensorflow as tf

    if name == "__operators__.getitem":
        return lambda tensor, slice_spec: tensor[_slices(slice_spec)]
    found: Any = tf
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _slices(value: Any) -> Any:
    """Convert the stored index of `tensor[…]` to slices and numbers."""
    if isinstance(value, dict):
        if value.get("class_name") == "__ellipsis__":
            return ...
        return slice(value.get("start"), value.get("stop"), value.get("step"))
    return tuple(_slices(one) for one in value) if isinstance(value, list | tuple) else value


def _allowed(name: str) -> str | None:
    """Return the name of the TensorFlow function to call, or None if the function is not allowed."""
    name = name.removeprefix("compat.v1.").removeprefix("keras.backend.")
    if name.startswith("__operators__."):
        operator = name.rpartition(".")[2]
        return name if operator == "getitem" else OPERATORS.get(operator)
    if any(word in name for word in FORBIDDEN):
        return None
    module = next((module for module in MODULES if name.startswith(module)), None)
    return name if name in FUNCTIONS or (module is not None and name.count(".") == 1) else None


def function_call(config: LayerConfig, _: Translator) -> Part:
    """Translate `TFOpLambda` and `SlicingOpLambda`."""
    stated = str(config.config.get("function"))
    name = _allowed(stated)
    if name is not None and stated.startswith("compat.v1.") and inspect.isfunction(_function(stated)):
        name = stated  # The function for TensorFlow 1 has arguments that the function for TensorFlow 2 lacks.
    if name is None or not callable(_function(name)):
        msg = f"it calls tf.{stated}, which is not one of the supported functions"
        raise UntranslatableError(msg)
    function, numbers = name, itertools.count()

    def run(inputs: Any, arguments: dict[str, Any]) -> Any:
        tensors: list[Any] = []
        first, others = (_numbered(value, tensors) for value in (inputs, arguments))
        number = next(numbers)
        own_name = layer_name(config) + (f"_call_{number}" if number else "")
        return FunctionCall(function, first, others, name=own_name)(tensors if len(tensors) > 1 else tensors[0])

    return Part(config, run, keeps_structure=True)


@keras.saving.register_keras_serializable(PACKAGE)
class OperationCall(layers.Layer):
    """Layer that runs one operation of a TensorFlow graph, as described by its node in the file."""

    def __init__(self, node: dict[str, Any], constants: dict[str, Any], **options: Any) -> None:
        super().__init__(autocast=False, **options)
        self.node, self.constants = node, constants

    def build(self, *_: Any) -> None:
        """Do nothing, because the layer has no weights."""

    def call(self, inputs: Any) -> Any:
        """Run the operation on the inputs, with the constants inserted at their positions."""
        import tensorflow as tf

        tensors = list(as_sequence(inputs))
        for place in sorted(self.constants, key=int):
            tensors.insert(int(place), tf.constant(self.constants[place]))
        return tf.function(self._run, autograph=False)(*tensors)

    def _run(self, *tensors: Any) -> Any:
        import tensorflow as tf
        from google.protobuf import json_format  # type: ignore[import-untyped]

        graph = tf.compat.v1.GraphDef()
        for number, tensor in enumerate(tensors):
            node = graph.node.add(name=f"input_{number}", op="Placeholder")
            node.attr["dtype"].type = tensor.dtype.as_datatype_enum
        node = graph.node.add()
        json_format.ParseDict(self.node, node)
        node.name = "operation"
        node.ClearField("device")
        del node.input[:]
        node.input.extend(f"input_{number}" for number in range(len(tensors)))
        counts = [node.attr[key].i for key in ("num", "num_split") if key in node.attr]
        count = 2 if node.op == "TopKV2" else counts[0] if counts else 1
        outputs = tf.graph_util.import_graph_def(
            graph,
            input_map={f"input_{number}:0": tensor for number, tensor in enumerate(tensors)},
            return_elements=[f"operation:{number}" for number in range(count)],
        )
        return outputs if len(outputs) > 1 else outputs[0]

    def get_config(self) -> dict[str, Any]:
        """Return the configuration."""
        return {**super().get_config(), "node": self.node, "constants": self.constants}


def operation_call(config: LayerConfig, _: Translator) -> Part:
    """Translate `TensorFlowOpLayer`, in which Keras 2.2 and 2.3 store a call to a TensorFlow function."""
    node = config.config.get("node_def")
    operation = node.get("op") if isinstance(node, dict) else None
    if operation not in OPERATIONS or not isinstance(node, dict):
        msg = f"it runs the TensorFlow operation {operation}, which is not supported"
        raise UntranslatableError(msg)
    constants = {str(place): value for place, value in (config.config.get("constants") or {}).items()}
    return plain_call(config, OperationCall(node, constants, name=layer_name(config)))


def plain_call(config: LayerConfig, layer: Any) -> Part:
    """Return a `Part` for a layer that is called only with its inputs."""
    return Part(config, lambda inputs, _: layer(inputs), layer)


def passed_on(config: LayerConfig, _: Translator) -> Part:
    """Translate `AddLoss` and `AddMetric`, which return their input unchanged."""
    return plain_call(config, layers.Identity(name=layer_name(config)))


ROWS: dict[str, Translation] = {
    "TFOpLambda": function_call,
    "SlicingOpLambda": function_call,
    "TensorFlowOpLayer": operation_call,
    "AddLoss": passed_on,
    "AddMetric": passed_on,
}
"""For each Keras 2 layer class, the function that builds the Keras 3 layer."""
