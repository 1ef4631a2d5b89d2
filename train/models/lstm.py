"""Recurrent models for texts.

Source of the LSTM: Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997). No layer masks. Texts are padded in
front with a token whose meaning is learnt, so that the edge runs the same static loop.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from orilla.train.jobs.plan import Build, Network, Plan, Stage
from orilla.train.models.blocks import answer


def lstm(options: Build) -> Network:
    """Build embedding 32, LSTM 32, sigmoid."""
    tokens, x = _words(options, 32, 0.2)
    x = layers.LSTM(32, name="lstm")(x)
    return Network(keras.Model(tokens, answer(x, options.classes, binary=True), name="lstm"))


def bilstm(options: Build) -> Network:
    """Build a sum of a deep and a wide part, followed by a sigmoid.

    The deep part is embedding 48, a convolution over three words with pooling by four, and a bidirectional LSTM 2x32.
    It outputs the maxima of convolution and LSTM over time, and the mean of the LSTM. The wide part has a weight for
    each word and each pair of words. The wide part knows what a rare word says. The deep part learns words from their
    neighbours, so it mistakes names for opinions and fails on other names.

    Sources: Zhou et al., "A C-LSTM Neural Network for Text Classification" (2015); Cheng et al., "Wide & Deep Learning
    for Recommender Systems" (2016); word pairs: Wang and Manning, "Baselines and Bigrams" (2012).
    """
    tokens, words = _words(options, 48, 0.3)
    words = layers.Dropout(_share(options, 0.2), name="dropout_words")(words)
    phrases = layers.Conv1D(64, 3, padding="same", activation="relu", name="phrases")(words)
    x = layers.MaxPooling1D(POOLED, name="pool")(phrases)
    x = layers.Bidirectional(layers.LSTM(32, return_sequences=True), name="bilstm")(x)
    pooled = [
        layers.GlobalMaxPooling1D(name="most_phrase")(phrases),
        layers.GlobalMaxPooling1D(name="most")(x),
        layers.GlobalAveragePooling1D(name="mean")(x),
    ]
    x = layers.Dropout(_share(options, 0.5), name="dropout")(layers.Concatenate(name="pooled")(pooled))
    outputs = 1 if options.classes == 2 else options.classes
    # A dense layer is used instead of a sum. On TensorFlow, Keras turns the sum of two vectors of one sample into a
    # bias, which LiteRT supports only in float.
    pairs = (tokens[:, 1:] - tokens[:, :-1] * PAIR_FACTOR) % PAIRS
    parts = [
        layers.Dense(outputs, name="deep")(x),
        _weighed(tokens, options.vocabulary, outputs, options, "word_weights"),
        _weighed(pairs, PAIRS, outputs, options, "pair_weights"),
    ]
    x = layers.Add(name="wide_and_deep")(parts)
    activation = "sigmoid" if outputs == 1 else "softmax"
    x = layers.Activation(activation, dtype="float32", name="probability" if outputs == 1 else "probabilities")(x)
    return Network(keras.Model(tokens, x, name="bilstm"))


PAIRS, PAIR_FACTOR = 131_071, 7_919
"""Primes. Pairs of words share this number of weights, through a hash that stays below 2^31 for 200,000 words."""


def _weighed(numbers: Any, size: int, outputs: int, options: Build, name: str) -> Any:
    """Return the sum of a weight for each number that occurs, `[N,outputs]`."""
    x = layers.Embedding(size, outputs, embeddings_initializer="zeros", name=name)(numbers)
    x = layers.Dropout(_share(options, 0.5), noise_shape=(None, numbers.shape[1], 1), name=f"{name}_dropout")(x)
    return keras.ops.sum(x, axis=1)


POOLED = 4


def _share(options: Build, default: float) -> float:
    return default if options.dropout is None else options.dropout


def _words(options: Build, size: int, dropped: float) -> tuple[Any, Any]:
    """Return tokens and their vectors. Training drops whole words, so that the network relies on no single one."""
    tokens = keras.Input(options.input, dtype="int32", name="tokens")
    x = layers.Embedding(options.vocabulary, size, name="embedding")(tokens)
    share = _share(options, dropped)
    return tokens, layers.Dropout(share, noise_shape=(None, options.input[0], 1), name="word_dropout")(x)


PLANS = {
    "lstm": Plan("text", lstm, (300,), (Stage(6, 3e-3),), batch=128, vocabulary=10_000),
    "bilstm": Plan(
        "text", bilstm, (400,), (Stage(4, 1e-3),), batch=64, vocabulary=20_000, weight_decay=0.01, minimum=(POOLED,)
    ),
}
