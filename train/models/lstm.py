"""Recurrent models of texts.

Source of the LSTM: Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997). No layer masks: texts are padded in
front with a token of its own, whose meaning is learnt, so that the edge runs the same static loop.
"""

from __future__ import annotations

import keras
from keras import layers

from orilla.train.models.blocks import answer
from orilla.train.plan import Build, Network, Plan, Stage


def lstm(options: Build) -> Network:
    """Embedding 32, LSTM 32, sigmoid."""
    tokens = keras.Input(options.input, dtype="int32", name="tokens")
    x = layers.Embedding(options.vocabulary, 32, name="embedding")(tokens)
    x = layers.SpatialDropout1D(0.3 if options.dropout is None else options.dropout, name="word_dropout")(x)
    x = layers.LSTM(32, name="lstm")(x)
    return Network(keras.Model(tokens, answer(x, options.classes, binary=True), name="lstm"))


def bilstm(options: Build) -> Network:
    """Embedding 64, bidirectional LSTM 2x48, the greatest of each unit over time, sigmoid."""
    drop = 0.4 if options.dropout is None else options.dropout
    tokens = keras.Input(options.input, dtype="int32", name="tokens")
    x = layers.Embedding(options.vocabulary, 64, name="embedding")(tokens)
    x = layers.SpatialDropout1D(drop, name="word_dropout")(x)
    x = layers.Bidirectional(layers.LSTM(48, return_sequences=True), name="bilstm")(x)
    x = layers.GlobalMaxPooling1D(name="most")(x)
    x = layers.Dropout(drop, name="dropout")(x)
    return Network(keras.Model(tokens, answer(x, options.classes, binary=True), name="bilstm"))


PLANS = {
    "lstm": Plan("text", lstm, (200,), (Stage(5, 3e-3),), batch=128, vocabulary=10_000),
    "bilstm": Plan("text", bilstm, (300,), (Stage(5, 2e-3),), batch=128, vocabulary=10_000),
}
