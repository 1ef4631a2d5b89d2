"""Models of more than one layer that make.py builds: forms of models, graphs, operations, and what must be refused."""

from collections import OrderedDict

from inputs import Floats, Ints, Masked
from rows import GROUPS

OPS = {
    "op-arithmetic": "Dense(4)(x) * 2.0 + 1.0",
    "op-reversed": "1.0 - Dense(4)(x)",
    "op-two-tensors": "Dense(4)(x) * Dense(4)(x) - Dense(4)(x)",
    "op-divide-negate": "-Dense(4)(x) / 3.0",
    "op-power": "Dense(4)(x) ** 2",
    "op-square-root": "tf.sqrt(tf.abs(Dense(4)(x)) + 0.5)",
    "op-relu6": "Dense(4)(tf.nn.relu6(x))",
    "op-leaky-relu": "tf.nn.leaky_relu(Dense(4)(x), alpha=0.3)",
    "op-swish": "tf.nn.swish(Dense(4)(x))",
    "op-softmax-axis": "tf.nn.softmax(Dense(4)(x), axis=-1)",
    "op-sigmoid": "tf.sigmoid(Dense(4)(x)) * tf.tanh(Dense(4)(x))",
    "op-clip": "tf.clip_by_value(Dense(4)(x), -1.0, 1.0)",
    "op-maximum": "tf.maximum(Dense(4)(x), 0.5)",
    "op-exp-log": "tf.math.log(1.0 + tf.exp(Dense(4)(x)))",
    "op-slice": "Dense(3)(x[:, 1:4])",
    "op-slice-step": "Dense(3)(x[:, ::2])",
    "op-slice-ellipsis": "Dense(3)(x)[..., :2]",
    "op-index-new-axis": "Dense(3)(x)[:, 0][:, None]",
    "op-concat": "tf.concat([Dense(2)(x), Dense(3)(x)], axis=-1)",
    "op-stack": "tf.stack([Dense(2)(x), Dense(2)(x)], axis=1)",
    "op-split": "Concatenate()(tf.split(Dense(4)(x), 2, axis=-1)[::-1])",
    "op-reduce-mean": "tf.reduce_mean(Dense(4)(x), axis=-1, keepdims=True)",
    "op-reduce-sum": "tf.reduce_sum(Dense(4)(x) ** 2, axis=1)",
    "op-reshape": "tf.reshape(Dense(4)(x), [-1, 2, 2])",
    "op-expand-squeeze": "tf.squeeze(tf.expand_dims(Dense(4)(x), 1), axis=1)",
    "op-transpose": "tf.transpose(tf.reshape(Dense(6)(x), [-1, 3, 2]), [0, 2, 1])",
    "op-matmul": "tf.matmul(Reshape((2, 2))(Dense(4)(x)), Reshape((2, 3))(Dense(6)(x)))",
    "op-cast": "tf.cast(Dense(4)(x) > 0.0, 'float32')",
    "op-where": "tf.where(Dense(4)(x) > 0.0, Dense(4)(x), Dense(4)(x))",
    "op-l2-normalize": "tf.math.l2_normalize(Dense(4)(x), axis=-1)",
    "op-dynamic-shape": "tf.reshape(Dense(4)(x), (tf.shape(x)[0], 2, 2))",
    "op-constant": "Dense(4)(x) + tf.constant([1.0, 2.0, 3.0, 4.0])",
    "op-backend-mean": "K.mean(Dense(4)(x), axis=-1, keepdims=True)",
}
"""Operations on tensors of a functional model. `x` is the input, [6]. Standalone Keras 2 cannot save them."""

IMAGE_OPS = {
    "op-image-resize": "tf.image.resize(Conv2D(2, 2)(x), (7, 9))",
    "op-space-to-depth": "tf.nn.space_to_depth(x, 2)",
    "op-depth-to-space": "tf.nn.depth_to_space(Conv2D(4, 1)(x), 2)",
    "op-pad": "tf.pad(Conv2D(2, 2)(x), [[0, 0], [1, 1], [2, 0], [0, 0]])",
    "op-reduce-mean-image": "tf.reduce_mean(Conv2D(3, 2)(x), axis=[1, 2])",
    "op-preprocess": "Conv2D(2, 2)(x / 127.5 - 1.0)",
    "op-hard-swish": "Conv2D(3, 2)(x) * ReLU(6.0)(Conv2D(3, 2)(x) + 3.0) * (1.0 / 6.0)",
    "op-avg-pool": "tf.nn.avg_pool2d(Conv2D(2, 1)(x), 2, 2, 'VALID')",
}

GRAPHS = OrderedDict()
"""Name of each model, with its inputs and the function that builds it."""


def graph(*inputs):
    """Register a function that builds a model. The first line of its docstring is its row in the table."""

    def registered(function):
        GRAPHS[function.__name__.replace("_", "-")] = (inputs, function)
        return function

    return registered


@graph(Floats(6))
def sequential_without_input(k):
    """Sequential whose first layer has `input_shape`."""
    return k.Sequential([k.layers.Dense(5, activation="relu", input_shape=(6,)), k.layers.Dense(3)])


@graph(Floats(6))
def sequential_input_dim(k):
    """Sequential whose first layer has `input_dim`."""
    return k.Sequential([k.layers.Dense(5, activation="relu", input_dim=6), k.layers.Dense(3)])


@graph(Floats(6, 5, 3))
def sequential_flatten_first(k):
    """Sequential that begins with Flatten."""
    return k.Sequential([k.layers.Flatten(input_shape=(6, 5, 3)), k.layers.Dense(3)])


@graph(Floats(6))
def sequential_with_input_layer(k):
    """Sequential that begins with an InputLayer."""
    return k.Sequential([k.layers.InputLayer(input_shape=(6,)), k.layers.Dense(3, activation="tanh")])


@graph(Floats(6))
def sequential_batch_size(k):
    """Sequential with `batch_input_shape` of a fixed batch size."""
    return k.Sequential([k.layers.Dense(3, batch_input_shape=(4, 6))])


@graph(Ints(9, 6))
def sequential_embedding_first(k):
    """Sequential that begins with Embedding(input_length=6)."""
    return k.Sequential([k.layers.Embedding(9, 4, input_length=6), k.layers.Flatten(), k.layers.Dense(2)])


@graph(Floats(6, 4))
def sequential_bidirectional_first(k):
    """Sequential that begins with Bidirectional(LSTM, input_shape=...)."""
    return k.Sequential([k.layers.Bidirectional(k.layers.LSTM(3), input_shape=(6, 4)), k.layers.Dense(2)])


@graph(Floats(6, 5, 3))
def sequential_time_distributed_first(k):
    """Sequential that begins with TimeDistributed(Conv1D, input_shape=...)."""
    return k.Sequential([k.layers.TimeDistributed(k.layers.Conv1D(2, 2), input_shape=(6, 5, 3)), k.layers.Flatten()])


@graph(Floats(6, 4))
def sequential_stateful(k):
    """Sequential with a stateful LSTM, batch size 4."""
    lstm = k.layers.LSTM(3, stateful=True, batch_input_shape=(4, 6, 4))
    return k.Sequential([lstm, k.layers.Dense(2)])


@graph(Floats(6, 4))
def sequential_open_length(k):
    """Sequential with an axis of open length before an LSTM."""
    return k.Sequential([k.layers.LSTM(3, input_shape=(None, 4)), k.layers.Dense(2)])


@graph(Floats(6))
def sequential_compiled(k):
    """Sequential saved with its optimizer's state after one step."""
    model = k.Sequential([k.layers.Dense(5, activation="relu", input_shape=(6,)), k.layers.Dense(3)])
    model.compile("adam", "mse", metrics=["mae"])
    model.train_on_batch(k.np.ones((4, 6)), k.np.ones((4, 3)))
    return model


@graph(Floats(6))
def functional_compiled(k):
    """Functional model saved with its optimizer's state after one step."""
    x = k.Input((6,))
    model = k.Model(x, k.layers.Dense(3, activation="softmax")(k.layers.BatchNormalization()(x)))
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
    model.train_on_batch(k.np.ones((4, 6)), k.np.ones((4, 3)) / 3)
    return model


@graph(Floats(6))
def sequential_in_sequential(k):
    """Sequential of two Sequentials."""
    first = k.Sequential([k.layers.Dense(5, activation="relu", input_shape=(6,)), k.layers.Dense(4)])
    second = k.Sequential([k.layers.Dense(3, activation="sigmoid", input_shape=(4,))])
    return k.Sequential([first, second])


@graph(Floats(6, 5, 3))
def functional_in_sequential(k):
    """Sequential around a functional model, inside a Sequential, as Teachable Machine writes it."""
    x = k.Input((6, 5, 3))
    y = k.layers.BatchNormalization()(k.layers.Conv2D(3, 2)(x))
    inner = k.Model(x, k.layers.Add()([y, k.layers.Conv2D(3, 1)(y)]))
    front = k.Sequential([inner, k.layers.GlobalAveragePooling2D()])
    return k.Sequential([front, k.Sequential([k.layers.Dense(2, activation="softmax", input_shape=(3,))])])


@graph(Floats(6))
def sequential_in_functional(k):
    """Functional model that calls a Sequential."""
    x = k.Input((6,))
    inner = k.Sequential([k.layers.Dense(5, activation="relu", input_shape=(6,)), k.layers.Dense(4)])
    return k.Model(x, k.layers.Dense(3)(inner(x)))


@graph(Floats(6))
def functional_in_functional(k):
    """Functional model in a functional model in a functional model."""
    x = k.Input((6,))
    inner = k.Model(x, k.layers.Dense(4)(x))
    z = k.Input((6,))
    middle = k.Model(z, k.layers.Activation("hard_sigmoid")(inner(z)))
    y = k.Input((6,))
    return k.Model(y, k.layers.Dense(2)(middle(y)))


@graph(Floats(6), Floats(6))
def shared_model(k):
    """Functional model that calls one model for two inputs and subtracts (siamese)."""
    x = k.Input((6,))
    tower = k.Model(x, k.layers.Dense(4, activation="relu")(x))
    a, b = k.Input((6,)), k.Input((6,))
    return k.Model([a, b], k.layers.Dense(2)(k.layers.Subtract()([tower(a), tower(b)])))


@graph(Floats(6), Floats(6))
def shared_sequential(k):
    """Functional model that calls one Sequential for two inputs."""
    tower = k.Sequential([k.layers.Dense(4, activation="relu", input_shape=(6,))])
    a, b = k.Input((6,)), k.Input((6,))
    return k.Model([a, b], k.layers.Concatenate()([tower(b), tower(a)]))


@graph(Floats(6), Floats(6))
def shared_layer(k):
    """Functional model that calls one Dense layer for two inputs."""
    dense = k.layers.Dense(4, activation="tanh")
    a, b = k.Input((6,)), k.Input((6,))
    return k.Model([a, b], k.layers.Multiply()([dense(a), dense(b)]))


@graph(Floats(4))
def layer_called_three_times(k):
    """Functional model that calls one Dense layer three times in a row."""
    dense = k.layers.Dense(4, activation="tanh")
    x = k.Input((4,))
    return k.Model(x, dense(dense(dense(x))))


@graph(Floats(6))
def shared_inner_of_shared_model(k):
    """Functional model that calls a model twice in a row, whose layer is shared inside."""
    dense = k.layers.Dense(6, activation="tanh")
    x = k.Input((6,))
    inner = k.Model(x, dense(dense(x)))
    y = k.Input((6,))
    return k.Model(y, k.layers.Dense(2)(inner(inner(y))))


@graph(Floats(6), Ints(9, 5))
def two_inputs_two_outputs(k):
    """Functional model with two inputs of different types and two outputs."""
    a, b = k.Input((6,)), k.Input((5,), dtype="int32")
    merged = k.layers.Concatenate()([k.layers.Dense(4)(a), k.layers.LSTM(3)(k.layers.Embedding(9, 4)(b))])
    return k.Model([a, b], [k.layers.Dense(2)(merged), k.layers.Dense(3, activation="softmax")(merged)])


@graph(Floats(6))
def output_used_twice(k):
    """Functional model whose output is also used by another output."""
    x = k.Input((6,))
    y = k.layers.Dense(4, activation="relu")(x)
    return k.Model(x, [y, k.layers.Dense(3)(y)])


@graph(Floats(6))
def nested_two_outputs(k):
    """Functional model whose nested model has two outputs, of which the second is used first."""
    x = k.Input((6,))
    inner = k.Model(x, [k.layers.Dense(3)(x), k.layers.Dense(4)(x)])
    y = k.Input((6,))
    first, second = inner(y)
    return k.Model(y, k.layers.Concatenate()([second, first]))


@graph(Floats(6), Floats(4))
def nested_two_inputs(k):
    """Functional model whose nested model has two inputs, given in another order than created."""
    b, a = k.Input((4,)), k.Input((6,))
    inner = k.Model([a, b], k.layers.Concatenate()([k.layers.Dense(3)(a), b]))
    y, z = k.Input((6,)), k.Input((4,))
    return k.Model([y, z], k.layers.Dense(2)(inner([y, z])))


@graph(Floats(6))
def residual(k):
    """Functional model with a residual connection and batch normalisation."""
    x = k.Input((6,))
    y = k.layers.BatchNormalization()(k.layers.Dense(6, use_bias=False)(x))
    return k.Model(x, k.layers.Activation("relu")(k.layers.Add()([x, y])))


@graph(Floats(6))
def partly_frozen(k):
    """Model with a frozen nested model that has batch normalisation: the order of its weights in the file changes."""
    x = k.Input((6,))
    y = k.layers.BatchNormalization()(k.layers.Dense(5)(x))
    inner = k.Model(x, k.layers.BatchNormalization(trainable=False)(k.layers.Dense(5, trainable=False)(y)))
    return k.Sequential([inner, k.layers.Dense(3)])


@graph(Floats(6))
def frozen_after_building(k):
    """Model whose nested Sequential was frozen after it was built."""
    dense = k.layers.Dense(5, input_shape=(6,))
    inner = k.Sequential([dense, k.layers.BatchNormalization(), k.layers.Dense(5)])
    model = k.Sequential([inner, k.layers.Dense(3)])
    dense.trainable = False
    return model


@graph(Floats(6, 4))
def encoder_decoder(k):
    """LSTM with `return_state`, whose states start a second LSTM (`initial_state`)."""
    x = k.Input((6, 4))
    _, h, c = k.layers.LSTM(3, return_state=True)(x)
    return k.Model(x, k.layers.LSTM(3, return_sequences=True)(x, initial_state=[h, c]))


@graph(Floats(6, 4))
def gru_states(k):
    """GRU with `return_state` and all its outputs."""
    x = k.Input((6, 4))
    return k.Model(x, k.layers.GRU(3, return_state=True, return_sequences=True)(x))


@graph(Floats(6, 4))
def bidirectional_states(k):
    """Bidirectional LSTM with `return_state`."""
    x = k.Input((6, 4))
    outputs = k.layers.Bidirectional(k.layers.LSTM(3, return_state=True))(x)
    return k.Model(x, k.layers.Concatenate()(list(outputs)))


@graph(Masked(6, 4), Floats(5))
def masked_branch(k):
    """Masking, LSTM and a second branch that joins by Concatenate."""
    a, b = k.Input((6, 4)), k.Input((5,))
    y = k.layers.LSTM(3)(k.layers.Masking(mask_value=0.0)(a))
    return k.Model([a, b], k.layers.Dense(2)(k.layers.Concatenate()([y, b])))


@graph(Ints(9, 6))
def masked_merge(k):
    """Two masked branches of one Embedding that join by Concatenate before an LSTM."""
    x = k.Input((6,), dtype="int32")
    y = k.layers.Embedding(9, 4, mask_zero=True)(x)
    both = k.layers.Concatenate()([k.layers.Dense(2)(y), k.layers.Dense(3)(y)])
    return k.Model(x, k.layers.LSTM(3)(both))


@graph(Ints(9, 6))
def attention_masked(k):
    """Attention on a masked Embedding."""
    x = k.Input((6,), dtype="int32")
    y = k.layers.Embedding(9, 4, mask_zero=True)(x)
    return k.Model(x, k.layers.Attention()([y, y]))


@graph(Floats(6, 4))
def multi_head_attention(k):
    """MultiHeadAttention(2, 3) of a series with itself."""
    x = k.Input((6, 4))
    return k.Model(x, k.layers.MultiHeadAttention(2, 3)(x, x))


@graph(Floats(6, 4), Floats(3, 5))
def multi_head_attention_options(k):
    """MultiHeadAttention(2, 3, value_dim=2, output_shape=5, use_bias=False), causal and with scores."""
    a, b = k.Input((6, 4)), k.Input((3, 5))
    layer = k.layers.MultiHeadAttention(2, 3, value_dim=2, output_shape=5, use_bias=False, dropout=0.1)
    y, scores = layer(a, b, return_attention_scores=True)
    return k.Model([a, b], [y, scores])


@graph(Floats(4, 3, 5))
def multi_head_attention_axes(k):
    """MultiHeadAttention(2, 3, attention_axes=(1, 2)) of a grid with itself."""
    x = k.Input((4, 3, 5))
    return k.Model(x, k.layers.MultiHeadAttention(2, 3, attention_axes=(1, 2))(x, x))


@graph(Floats(6, 4))
def transformer_block(k):
    """Transformer block: attention, residual connections, layer normalisation and a gelu layer."""
    x = k.Input((6, 4))
    y = k.layers.LayerNormalization(epsilon=1e-6)(x)
    y = k.layers.Add()([x, k.layers.MultiHeadAttention(2, 2, dropout=0.1)(y, y)])
    z = k.layers.Dense(4)(k.layers.Dense(8, activation=k.tf.nn.gelu)(k.layers.LayerNormalization()(y)))
    return k.Model(x, y + z)


@graph(Floats(6))
def dictionary_of_outputs(k):
    """Functional model whose outputs are a dictionary."""
    x = k.Input((6,))
    return k.Model(x, {"b": k.layers.Dense(2)(x), "a": k.layers.Dense(3)(x)})


@graph(Floats(6))
def mixed_precision(k):
    """Dense layers with the policy mixed_float16, and a last layer in float32."""
    x = k.Input((6,))
    return k.Model(x, k.layers.Dense(3, dtype="float32")(k.layers.Dense(5, dtype=k.half)(x)))


@graph(Floats(6))
def layer_named_with_slash(k):
    """Layers whose names contain a slash."""
    x = k.Input((6,))
    return k.Model(x, k.layers.Dense(3, name="block/out")(k.layers.Dense(5, name="block/in")(x)))


@graph(Floats(6, 5, 3))
def open_image_size(k):
    """Convolutional model for images of any size."""
    x = k.Input((None, None, 3))
    return k.Model(x, k.layers.GlobalMaxPooling2D()(k.layers.Conv2D(4, 2, activation="relu")(x)))


@graph(Floats(6))
def functional_merges(k):
    """The functions add, concatenate and multiply instead of the layers."""
    x = k.Input((6,))
    a, b = k.layers.Dense(3)(x), k.layers.Dense(3)(x)
    return k.Model(x, k.layers.concatenate([k.layers.add([a, b]), k.layers.multiply([a, b])]))


@graph(Floats(6))
def relu6_function(k):
    """Activation(relu6) with a function of one's own named relu6, as MobileNet of Keras 2.1 has it."""

    def relu6(x):
        return k.K.relu(x, max_value=6)

    x = k.Input((6,))
    return k.Model(x, k.layers.Activation(relu6)(k.layers.Dense(4)(x)))


@graph(Floats(6, 4))
def cudnn_lstm(k):
    """CuDNNLSTM. The answers are those of the LSTM into which the same Keras loads its weights."""
    return k.cudnn("LSTM", recurrent_activation="sigmoid")


@graph(Floats(6, 4))
def cudnn_gru(k):
    """CuDNNGRU. The answers are those of the GRU into which the same Keras loads its weights."""
    return k.cudnn("GRU", recurrent_activation="sigmoid", reset_after=True)


@graph(Floats(6, 4))
def cudnn_bidirectional(k):
    """Bidirectional(CuDNNLSTM). The answers are those of Bidirectional(LSTM)."""
    return k.cudnn("LSTM", bidirectional=True, recurrent_activation="sigmoid")


@graph(Floats(6))
def refused_lambda(k):
    """Lambda layer: its Python code must not run."""
    x = k.Input((6,))
    return k.Model(x, k.layers.Lambda(lambda v: v * 2 + 1, name="my_lambda")(k.layers.Dense(4)(x)))


@graph(Floats(6))
def refused_lambda_in_nested(k):
    """Lambda layer in a nested Sequential."""
    inner = k.Sequential([k.layers.Dense(4, input_shape=(6,)), k.layers.Lambda(lambda v: v * 2, name="my_lambda")])
    return k.Sequential([inner, k.layers.Dense(2)])


@graph(Floats(6))
def refused_custom_layer(k):
    """Layer of a class of one's own."""

    class Doubled(k.layers.Layer):
        def call(self, x):
            return x * 2

        def compute_output_shape(self, shape):
            return shape

    x = k.Input((6,))
    return k.Model(x, Doubled(name="my_layer")(k.layers.Dense(4)(x)))


@graph(Floats(6))
def refused_custom_activation(k):
    """Dense with an activation function of one's own."""

    def my_activation(x):
        return x * 2

    x = k.Input((6,))
    return k.Model(x, k.layers.Dense(4, activation=my_activation, name="my_dense")(x))


ROWS = GROUPS
EXPRESSIONS = [((Floats(6),), OPS), ((Floats(6, 4, 3),), IMAGE_OPS)]
