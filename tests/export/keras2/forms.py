"""Models of several layers that make.py builds: Sequential and functional models, and models that must be rejected."""

from inputs import Floats, Ints
from registry import graph


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
    """Functional model that calls the same Sequential on each of two inputs."""
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
    """Functional model whose nested model has two inputs, given in a different order from their creation."""
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


@graph(Floats(6, 5, 3))
def called_with_training_false(k):
    """Nested model and BatchNormalization called with training=False, as in transfer learning."""
    x = k.Input((6, 5, 3))
    inner = k.Model(x, k.layers.BatchNormalization()(k.layers.Conv2D(3, 2)(x)))
    y = k.Input((6, 5, 3))
    z = k.layers.BatchNormalization()(inner(y, training=False), training=False)
    return k.Model(y, k.layers.Dense(2)(k.layers.Dropout(0.2)(k.layers.GlobalAveragePooling2D()(z))))


@graph(Floats(6))
def input_as_output(k):
    """Functional model that also returns its input."""
    x = k.Input((6,))
    return k.Model(x, [k.layers.Dense(2)(x), x])


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
def double_precision(k):
    """Dense layers in float64 after a Dense layer in float32."""
    x = k.Input((6,))
    return k.Model(x, k.layers.Dense(3, dtype="float64")(k.layers.Dense(5)(x)))


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
