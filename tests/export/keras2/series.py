"""Models for series that make.py builds: states, masks, attention, and layers that only run on a GPU."""

from inputs import Floats, Ints, Masked
from registry import graph


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
    """Masking and LSTM, concatenated with a second branch."""
    a, b = k.Input((6, 4)), k.Input((5,))
    y = k.layers.LSTM(3)(k.layers.Masking(mask_value=0.0)(a))
    return k.Model([a, b], k.layers.Dense(2)(k.layers.Concatenate()([y, b])))


@graph(Ints(9, 6))
def masked_merge(k):
    """Two masked branches of one Embedding, concatenated before an LSTM."""
    x = k.Input((6,), dtype="int32")
    y = k.layers.Embedding(9, 4, mask_zero=True)(x)
    both = k.layers.Concatenate()([k.layers.Dense(2)(y), k.layers.Dense(3)(y)])
    return k.Model(x, k.layers.LSTM(3)(both))


def two_masked_branches(k, merge):
    """Return a model of two masked inputs with zeros at different places, which are merged before an LSTM."""
    a, b = k.Input((6,), dtype="int32"), k.Input((6,), dtype="int32")
    embedding = k.layers.Embedding(9, 4, mask_zero=True)
    return k.Model([a, b], k.layers.LSTM(3)(merge([embedding(a), embedding(b)])))


@graph(Ints(9, 6), Ints(9, 6))
def masked_concatenate(k):
    """A Concatenate layer on two inputs with different masks, followed by an LSTM."""
    return two_masked_branches(k, k.layers.Concatenate())


@graph(Ints(9, 6), Ints(9, 6))
def masked_concatenate_in_time(k):
    """A Concatenate(axis=1) layer on two inputs with different masks, followed by an LSTM."""
    return two_masked_branches(k, k.layers.Concatenate(axis=1))


@graph(Ints(9, 6), Ints(9, 6))
def masked_add(k):
    """An Add layer on two inputs with different masks, followed by an LSTM."""
    return two_masked_branches(k, k.layers.Add())


@graph(Ints(9, 6), Floats(6, 4))
def masked_and_unmasked_multiply(k):
    """A Multiply layer on an input with a mask and an input without one, followed by a GRU."""
    a, b = k.Input((6,), dtype="int32"), k.Input((6, 4))
    y = k.layers.Multiply()([k.layers.Embedding(9, 4, mask_zero=True)(a), b])
    return k.Model([a, b], k.layers.GRU(3)(y))


@graph(Ints(9, 6))
def mask_argument(k):
    """LSTM with the mask as an argument of its call."""
    x = k.Input((6,), dtype="int32")
    return k.Model(x, k.layers.LSTM(3)(k.layers.Embedding(9, 4)(x), mask=k.tf.not_equal(x, 0)))


@graph(Floats(4, 6))
def time_distributed_model(k):
    """TimeDistributed around a functional model with batch normalisation."""
    x = k.Input((6,))
    inner = k.Model(x, k.layers.BatchNormalization()(k.layers.Dense(3, activation="relu")(x)))
    y = k.Input((4, 6))
    return k.Model(y, k.layers.LSTM(3)(k.layers.TimeDistributed(inner)(y)))


@graph(Floats(6, 4), Floats(3), Floats(3))
def initial_state_input(k):
    """LSTM whose initial states are inputs of the model."""
    x, h, c = k.Input((6, 4)), k.Input((3,)), k.Input((3,))
    return k.Model([x, h, c], k.layers.LSTM(3)(x, initial_state=[h, c]))


@graph(Floats(6, 4))
def bidirectional_initial_state(k):
    """Bidirectional GRU that starts with the states of another one."""
    x = k.Input((6, 4))
    states = k.layers.Bidirectional(k.layers.GRU(3, return_state=True))(x)[1:]
    return k.Model(x, k.layers.Bidirectional(k.layers.GRU(3))(x, initial_state=list(states)))


@graph(Ints(9, 6))
def attention_masked(k):
    """Attention on a masked Embedding."""
    x = k.Input((6,), dtype="int32")
    y = k.layers.Embedding(9, 4, mask_zero=True)(x)
    return k.Model(x, k.layers.Attention()([y, y]))


@graph(Floats(6, 4))
def multi_head_attention(k):
    """Self-attention over a series: MultiHeadAttention(2, 3)."""
    x = k.Input((6, 4))
    return k.Model(x, k.layers.MultiHeadAttention(2, 3)(x, x))


@graph(Floats(6, 4), Floats(3, 5))
def multi_head_attention_options(k):
    """MultiHeadAttention(2, 3, value_dim=2, output_shape=5, use_bias=False), causal and with scores."""
    a, b = k.Input((6, 4)), k.Input((3, 5))
    layer = k.layers.MultiHeadAttention(2, 3, value_dim=2, output_shape=5, use_bias=False, dropout=0.1)
    y, scores = layer(a, b, return_attention_scores=True)
    return k.Model([a, b], [y, scores])


@graph(Floats(6, 4), Floats(3, 5))
def multi_head_attention_keywords(k):
    """MultiHeadAttention called with query=, value= and key=."""
    a, b = k.Input((6, 4)), k.Input((3, 5))
    return k.Model([a, b], k.layers.MultiHeadAttention(2, 3)(query=a, value=b, key=b))


@graph(Floats(6, 4))
def multi_head_attention_causal(k):
    """MultiHeadAttention called with use_causal_mask=True."""
    x = k.Input((6, 4))
    return k.Model(x, k.layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True))


@graph(Ints(9, 6))
def multi_head_attention_masked(k):
    """MultiHeadAttention on a masked Embedding."""
    x = k.Input((6,), dtype="int32")
    y = k.layers.Embedding(9, 4, mask_zero=True)(x)
    return k.Model(x, k.layers.MultiHeadAttention(2, 3)(y, y))


@graph(Floats(4, 3, 5))
def multi_head_attention_axes(k):
    """Self-attention over a grid: MultiHeadAttention(2, 3, attention_axes=(1, 2))."""
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
