"""Operations of TensorFlow on the tensors of functional models, which make.py builds: one model per expression."""

from inputs import Floats

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

EXPRESSIONS = [((Floats(6),), OPS), ((Floats(6, 4, 3),), IMAGE_OPS)]
