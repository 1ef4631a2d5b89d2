"""Recurrent models of texts.

Source of the LSTM: Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997). No layer masks: texts are padded in
front with a token of its own, whose meaning is learnt, so that the edge runs the same static loop.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from orilla.train.jobs.plan import Build, Network, Plan, Stage
from orilla.train.models.blocks import answer


def lstm(options: Build) -> Network:
    """Embedding 32, LSTM 32, sigmoid."""
    tokens, x = _words(options, 32, 0.2)
    x = layers.LSTM(32, name="lstm")(x)
    return Network(keras.Model(tokens, answer(x, options.classes, binary=True), name="lstm"))


def bilstm(options: Build) -> Network:
    """Deep: embedding 48, a convolution over three words, pooled by four; bidirectional LSTM 2x32 over that; the
    greatest of the convolution's and the LSTM's units over time, and the mean of the LSTM's. Wide: a weight for each
    word and each pair of words. The sum of both, sigmoid.

    The wide part knows what a rare word says; the deep part, which learns words by their neighbours, takes the names in
    a review for opinions, and errs where other names come.

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
    # No sum: of two vectors for one sample Keras makes a bias on TensorFlow, which LiteRT has in float only.
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
"""Primes: pairs of words share so many weights, by a hash that stays below 2^31 for 200,000 words."""


def _weighed(numbers: Any, size: int, outputs: int, options: Build, name: str) -> Any:
    """The sum of a weight for each number that occurs, `[N,outputs]`."""
    x = layers.Embedding(size, outputs, embeddings_initializer="zeros", name=name)(numbers)
    x = layers.Dropout(_share(options, 0.5), noise_shape=(None, numbers.shape[1], 1), name=f"{name}_dropout")(x)
    return keras.ops.sum(x, axis=1)


POOLED = 4


def _share(options: Build, default: float) -> float:
    return default if options.dropout is None else options.dropout


def _words(options: Build, size: int, dropped: float) -> tuple[Any, Any]:
    """Tokens and their vectors; while training, whole words are left out, so that no single one is relied on."""
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
