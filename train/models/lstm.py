"""Recurrent models for texts.

Source of the LSTM: Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997). No layer uses a mask. Texts are padded
at the front to a fixed length with a special token, whose meaning the network learns. The LSTM therefore runs a loop of
fixed length on the device.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from orilla.train.jobs.plan import Network, NetworkOptions, Phase, Plan
from orilla.train.models.blocks import output_layer

PAIRS, PAIR_FACTOR = 131_071, 7_919
"""Number of weights that the word pairs share, and a factor in the hash that maps each pair to a weight. Both are
primes. With up to 200,000 words, the products in the hash stay below 2^31."""

POOLED = 4
"""Number of words that one step of the bidirectional LSTM covers."""


def lstm(options: NetworkOptions) -> Network:
    """Build an embedding of size 32, an LSTM of 32 units, and a sigmoid output."""
    tokens, x = _words(options, 32, 0.2)
    x = layers.LSTM(32, name="lstm")(x)
    return Network(keras.Model(tokens, output_layer(x, options.classes, binary=True), name="lstm"))


def bilstm(options: NetworkOptions) -> Network:
    """Build a network of a deep and a wide part. The output is the sigmoid of their sum.

    The deep part consists of an embedding of size 48, a convolution over three words, max-pooling over four steps, and
    a bidirectional LSTM of 2x32 units. Its features are the maxima over time of the convolution and of the LSTM, and
    the mean over time of the LSTM. The wide part has a weight for each word and each pair of words.

    The wide part learns rare words well. The deep part learns words in their context, but it learns names in the
    training reviews as if they were opinions, and is then wrong about reviews with other names.

    Sources: Zhou et al., "A C-LSTM Neural Network for Text Classification" (2015); Cheng et al., "Wide & Deep Learning
    for Recommender Systems" (2016); word pairs: Wang and Manning, "Baselines and Bigrams" (2012).
    """
    tokens, words = _words(options, 48, 0.3)
    words = layers.Dropout(_dropout(options, 0.2), name="dropout_words")(words)
    phrases = layers.Conv1D(64, 3, padding="same", activation="relu", name="phrases")(words)
    x = layers.MaxPooling1D(POOLED, name="pool")(phrases)
    x = layers.Bidirectional(layers.LSTM(32, return_sequences=True), name="bilstm")(x)
    pooled = [
        layers.GlobalMaxPooling1D(name="most_phrase")(phrases),
        layers.GlobalMaxPooling1D(name="most")(x),
        layers.GlobalAveragePooling1D(name="mean")(x),
    ]
    x = layers.Dropout(_dropout(options, 0.5), name="dropout")(layers.Concatenate(name="pooled")(pooled))
    outputs = 1 if options.classes == 2 else options.classes
    # The hash subtracts instead of adding. With a batch size of 1, Keras on TensorFlow would turn the sum of two
    # integer vectors into a bias addition, which LiteRT supports only in float.
    pairs = (tokens[:, 1:] - tokens[:, :-1] * PAIR_FACTOR) % PAIRS
    parts = [
        layers.Dense(outputs, name="deep")(x),
        _sum_of_weights(tokens, options.vocabulary, outputs, options, "word_weights"),
        _sum_of_weights(pairs, PAIRS, outputs, options, "pair_weights"),
    ]
    x = layers.Add(name="wide_and_deep")(parts)
    activation = "sigmoid" if outputs == 1 else "softmax"
    x = layers.Activation(activation, dtype="float32", name="probability" if outputs == 1 else "probabilities")(x)
    return Network(keras.Model(tokens, x, name="bilstm"))


def _sum_of_weights(numbers: Any, size: int, outputs: int, options: NetworkOptions, name: str) -> Any:
    """Return the sum `[N,outputs]` of the weights of all numbers that occur in a text."""
    x = layers.Embedding(size, outputs, embeddings_initializer="zeros", name=name)(numbers)
    x = layers.Dropout(_dropout(options, 0.5), noise_shape=(None, numbers.shape[1], 1), name=f"{name}_dropout")(x)
    return keras.ops.sum(x, axis=1)


def _dropout(options: NetworkOptions, default: float) -> float:
    return default if options.dropout is None else options.dropout


def _words(options: NetworkOptions, size: int, dropout: float) -> tuple[Any, Any]:
    """Return the tokens and their vectors.

    During training, dropout removes whole words, so that the prediction does not depend on any single word.
    """
    tokens = keras.Input(options.input, dtype="int32", name="tokens")
    x = layers.Embedding(options.vocabulary, size, name="embedding")(tokens)
    rate = _dropout(options, dropout)
    return tokens, layers.Dropout(rate, noise_shape=(None, options.input[0], 1), name="word_dropout")(x)


PLANS = {
    "lstm": Plan("text", lstm, (300,), (Phase(6, 3e-3),), batch=128, vocabulary=10_000),
    "bilstm": Plan(
        "text", bilstm, (400,), (Phase(4, 1e-3),), batch=64, vocabulary=20_000, weight_decay=0.01, minimum=(POOLED,)
    ),
}
