"""The layers and options of Keras 1.2 that make.py builds. The names and arguments are those of Keras 1."""

from inputs import Floats, Ints, Masked
from registry import graph

VECTOR, SERIES, IMAGE, VOLUME = Floats(6), Floats(6, 4), Floats(6, 5, 3), Floats(4, 5, 4, 2)

DENSE = {
    "dense": "Dense(4)",
    "dense-no-bias": "Dense(output_dim=4, bias=False)",
    **{
        "dense-" + name.replace("_", "-"): "Dense(4, activation='" + name + "')"
        for name in ("relu", "sigmoid", "tanh", "softmax", "softplus", "softsign", "elu", "hard_sigmoid")
    },
    "dense-regularised": "Dense(4, init='he_normal', W_regularizer='l2', b_constraint='nonneg')",
    "maxout-dense": "MaxoutDense(3, nb_feature=2)",
    "highway": "Highway(activation='tanh')",
    "activation-hard-sigmoid": "[Dense(4), Activation('hard_sigmoid')]",
    "leaky-relu": "LeakyReLU(alpha=0.17)",
    "elu-alpha": "ELU(alpha=0.4)",
    "prelu": "PReLU()",
    "parametric-softplus": "ParametricSoftplus()",
    "thresholded-relu": "ThresholdedReLU(theta=0.7)",
    "s-relu": "SReLU()",
    "dropout": "[Dense(5), Dropout(0.4), Dense(3)]",
    "gaussian-noise": "[GaussianNoise(0.5), GaussianDropout(0.3), Dense(3)]",
    "activity-regularization": "[Dense(5), ActivityRegularization(l1=0.1)]",
    "repeat-vector": "[Dense(5), RepeatVector(3)]",
    "batch-normalization-vector": "BatchNormalization()",
    "batch-normalization-epsilon": "BatchNormalization(epsilon=0.3, momentum=0.5)",
    "batch-normalization-mode-1": "BatchNormalization(mode=1)",
}

SEQUENCES = {
    "dense-on-series": "TimeDistributedDense(3)",
    "flatten": "[Flatten(), Dense(3)]",
    "reshape": "[Reshape((3, 8)), TimeDistributed(Dense(3))]",
    "permute": "[Permute((2, 1)), LSTM(3)]",
    "prelu-shared-axes": "PReLU(shared_axes=[1])",
    "conv1d": "Convolution1D(3, 3)",
    "conv1d-same-stride": "Convolution1D(3, 3, border_mode='same', subsample_length=2, activation='relu')",
    "conv1d-causal-dilation": "AtrousConvolution1D(3, 2, atrous_rate=2)",
    "locally-connected-1d": "LocallyConnected1D(3, 2)",
    "max-pooling-1d": "MaxPooling1D(pool_length=2)",
    "max-pooling-1d-same": "MaxPooling1D(pool_length=3, stride=2, border_mode='same')",
    "average-pooling-1d": "AveragePooling1D(pool_length=2, stride=1)",
    "global-max-pooling-1d": "GlobalMaxPooling1D()",
    "global-average-pooling-1d": "GlobalAveragePooling1D()",
    "zero-padding-1d": "ZeroPadding1D(padding=2)",
    "cropping-1d": "Cropping1D((1, 2))",
    "up-sampling-1d": "UpSampling1D(length=3)",
    "simple-rnn": "SimpleRNN(3)",
    "simple-rnn-relu": "SimpleRNN(3, activation='relu', return_sequences=True, go_backwards=True)",
    "lstm": "LSTM(3)",
    "lstm-sequences": "LSTM(3, return_sequences=True, inner_init='glorot_uniform', forget_bias_init='zero')",
    "lstm-sigmoid": "LSTM(3, inner_activation='sigmoid', consume_less='mem')",
    "lstm-consume-less-gpu": "LSTM(3, consume_less='gpu')",
    "lstm-dropout": "LSTM(3, dropout_W=0.2, dropout_U=0.3)",
    "lstm-stacked": "[LSTM(4, return_sequences=True), LSTM(3)]",
    "lstm-unrolled": "LSTM(3, unroll=True)",
    "gru": "GRU(3)",
    "gru-sigmoid": "GRU(3, inner_activation='sigmoid', return_sequences=True)",
    "gru-consume-less-gpu": "GRU(3, consume_less='gpu', go_backwards=True)",
    "bidirectional-lstm": "Bidirectional(LSTM(3))",
    "bidirectional-gru-sum": "Bidirectional(GRU(3, return_sequences=True), merge_mode='sum')",
    "time-distributed-dense": "TimeDistributed(Dense(3, activation='hard_sigmoid'))",
}

IMAGES = {
    "flatten-image": "[Flatten(), Dense(3)]",
    "conv2d": "Convolution2D(4, 3, 3)",
    "conv2d-same-stride": "Convolution2D(4, 3, 2, border_mode='same', subsample=(2, 2), activation='relu')",
    "conv2d-dilation": "AtrousConvolution2D(4, 2, 2, atrous_rate=(2, 2))",
    "conv2d-no-bias": "[Convolution2D(4, 3, 3, bias=False), BatchNormalization(), Activation('relu')]",
    "conv2d-channels-first": "Convolution2D(4, 3, 3, dim_ordering='th')",
    "conv2d-then-flatten-channels-first": (
        "[Convolution2D(4, 2, 2, dim_ordering='th'), MaxPooling2D(dim_ordering='th'), Flatten(), Dense(3)]"
    ),
    "conv2d-transpose": "Deconvolution2D(2, 3, 3, output_shape=(4, 8, 7, 2))",
    "separable-conv2d": "SeparableConvolution2D(4, 3, 3, depth_multiplier=2)",
    "locally-connected-2d": "LocallyConnected2D(2, 2, 2)",
    "max-pooling-2d": "MaxPooling2D()",
    "max-pooling-2d-same": "MaxPooling2D((3, 2), strides=(2, 2), border_mode='same')",
    "average-pooling-2d": "AveragePooling2D((2, 3), strides=(1, 1))",
    "global-max-pooling-2d": "GlobalMaxPooling2D()",
    "global-average-pooling-2d": "GlobalAveragePooling2D()",
    "zero-padding-2d": "ZeroPadding2D((1, 0, 2, 1))",
    "zero-padding-2d-dictionary": "ZeroPadding2D({'top_pad': 1, 'bottom_pad': 0, 'left_pad': 2, 'right_pad': 1})",
    "cropping-2d": "Cropping2D(((1, 0), (2, 1)))",
    "up-sampling-2d": "UpSampling2D((2, 3))",
    "spatial-dropout-2d": "[SpatialDropout2D(0.3), Convolution2D(2, 2, 2)]",
    "batch-normalization-image": "BatchNormalization()",
    "batch-normalization-axis-1": "BatchNormalization(axis=1)",
    "time-distributed-conv1d": "TimeDistributed(Convolution1D(3, 2))",
}

VOLUMES = {
    "conv3d": "Convolution3D(3, 2, 2, 2)",
    "conv3d-same-stride": "Convolution3D(3, 2, 2, 2, border_mode='same', subsample=(2, 2, 2))",
    "max-pooling-3d": "MaxPooling3D()",
    "average-pooling-3d": "AveragePooling3D((2, 2, 2), strides=(1, 1, 1))",
    "global-average-pooling-3d": "GlobalAveragePooling3D()",
    "zero-padding-3d": "[ZeroPadding3D((1, 0, 1)), GlobalMaxPooling3D()]",
    "cropping-3d": "Cropping3D(((1, 0), (1, 2), (0, 1)))",
    "up-sampling-3d": "[UpSampling3D((2, 2, 2)), MaxPooling3D((3, 3, 3))]",
    "conv-lstm-2d": "ConvLSTM2D(2, 2, 2, border_mode='same')",
    "time-distributed-conv2d": "TimeDistributed(Convolution2D(3, 2, 2, activation='relu'))",
}

TOKENS = {
    "embedding": "[Embedding(9, 4), Flatten(), Dense(3)]",
    "embedding-input-length": "[Embedding(9, 4, input_length=6, dropout=0.2), GlobalAveragePooling1D(), Dense(3)]",
    "embedding-mask-lstm": "[Embedding(9, 4, mask_zero=True), LSTM(3)]",
    "embedding-mask-gru": "[Embedding(9, 4, mask_zero=True), GRU(3, return_sequences=True)]",
    "embedding-mask-bidirectional": "[Embedding(9, 4, mask_zero=True), Bidirectional(LSTM(3))]",
}

MASKED = {
    "masking-lstm": "[Masking(0.0), LSTM(3)]",
    "masking-gru": "[Masking(), GRU(3)]",
    "masking-simple-rnn": "[Masking(), SimpleRNN(3, return_sequences=True)]",
}

PAIRS = {
    "add": "Merge(mode='sum')",
    "multiply": "Merge(mode='mul')",
    "average": "Merge(mode='ave')",
    "maximum": "Merge(mode='max')",
    "concatenate": "Merge(mode='concat')",
    "concatenate-axis-1": "Merge(mode='concat', concat_axis=1)",
    "dot-axes": "Merge(mode='dot', dot_axes=2)",
    "dot-first-axis": "Merge(mode='dot', dot_axes=[1, 1])",
}

ROWS = [
    ((VECTOR,), DENSE),
    ((SERIES,), SEQUENCES),
    ((IMAGE,), IMAGES),
    ((VOLUME,), VOLUMES),
    ((Ints(9, 6),), TOKENS),
    ((Masked(6, 4),), MASKED),
    ((Floats(3, 4), Floats(3, 4)), PAIRS),
    ((Floats(4), Floats(4)), {"dot-vectors": "Merge(mode='dot')", "dot-cosine": "Merge(mode='cos')"}),
]
EXPRESSIONS = []


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


@graph(Floats(6, 5, 3))
def sequential_convolutions(k):
    """Sequential of convolutions in the order `tf`, as most files of Keras 1 are."""
    first = k.layers.Convolution2D(4, 2, 2, activation="relu", border_mode="same", input_shape=(6, 5, 3))
    rest = [k.layers.MaxPooling2D((2, 2)), k.layers.Dropout(0.2), k.layers.Flatten(), k.layers.Dense(3)]
    return k.Sequential([first, *rest])


@graph(Floats(3, 6, 5))
def sequential_channels_first(k):
    """Sequential of convolutions in the order `th`."""
    order = dict(dim_ordering="th")
    first = k.layers.Convolution2D(4, 2, 2, activation="relu", input_shape=(3, 6, 5), **order)
    rest = [k.layers.MaxPooling2D((2, 2), **order), k.layers.BatchNormalization(axis=1), k.layers.Flatten()]
    return k.Sequential([first, *rest, k.layers.Dense(3)])


@graph(Ints(9, 6))
def sequential_embedding_first(k):
    """Sequential that begins with Embedding(input_length=6)."""
    return k.Sequential([k.layers.Embedding(9, 4, input_length=6), k.layers.Flatten(), k.layers.Dense(2)])


@graph(Floats(6, 4))
def sequential_stateful(k):
    """Sequential with a stateful LSTM, batch size 4."""
    return k.Sequential([k.layers.LSTM(3, stateful=True, batch_input_shape=(4, 6, 4)), k.layers.Dense(2)])


@graph(Floats(6))
def sequential_compiled(k):
    """Sequential saved with its optimizer's state after one step."""
    model = k.Sequential([k.layers.Dense(5, activation="relu", input_shape=(6,)), k.layers.Dense(3)])
    model.compile("adam", "mse")
    model.train_on_batch(k.np.ones((4, 6)), k.np.ones((4, 3)))
    return model


@graph(Floats(6))
def sequential_in_sequential(k):
    """Sequential of two Sequentials."""
    first = k.Sequential([k.layers.Dense(5, activation="relu", input_shape=(6,)), k.layers.Dense(4)])
    return k.Sequential([first, k.Sequential([k.layers.Dense(3, activation="sigmoid", input_shape=(4,))])])


@graph(Floats(6), Floats(4))
def sequential_of_merge(k):
    """Sequential that begins with Merge of two Sequentials."""
    first = k.Sequential([k.layers.Dense(5, activation="relu", input_shape=(6,))])
    second = k.Sequential([k.layers.Dense(3, input_shape=(4,))])
    return k.Sequential([k.layers.Merge([first, second], mode="concat"), k.layers.Dense(2)])


@graph(Floats(6), Floats(6))
def shared_layer(k):
    """Functional model that calls one Dense layer for two inputs, merged by the function merge."""
    dense = k.layers.Dense(4, activation="tanh")
    a, b = k.Input((6,)), k.Input((6,))
    return k.Model([a, b], k.layers.merge([dense(a), dense(b)], mode="mul"))


@graph(Floats(6))
def functional_in_functional(k):
    """Functional model in a functional model."""
    x = k.Input((6,))
    inner = k.Model(x, k.layers.Dense(4, activation="hard_sigmoid")(x))
    y = k.Input((6,))
    return k.Model(y, k.layers.Dense(2)(inner(y)))


@graph(Floats(6))
def output_used_twice(k):
    """Functional model with two outputs, of which one is computed from the other."""
    x = k.Input((6,))
    y = k.layers.Dense(4, activation="relu")(x)
    return k.Model(x, [y, k.layers.Dense(3)(y)])


@graph(Floats(6))
def refused_lambda(k):
    """Lambda layer: its Python code must not run."""
    x = k.Input((6,))
    return k.Model(x, k.layers.Lambda(lambda v: v * 2 + 1, name="my_lambda")(k.layers.Dense(4)(x)))


@graph(Floats(6), Floats(6))
def refused_merge_function(k):
    """Merge whose mode is a Python function."""
    a, b = k.Input((6,)), k.Input((6,))
    return k.Model([a, b], k.layers.merge([a, b], mode=lambda x: x[0] - x[1], output_shape=(6,), name="my_merge"))
