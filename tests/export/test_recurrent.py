"""Recurrent layers: every exported form gives the same outputs as Keras, regardless of earlier samples."""

import keras
import numpy as np
import pytest
from keras import layers

from orilla.devices.errors import EngineError
from orilla.export.convert import keras_litert, keras_onnx
from orilla.export.convert.lower_recurrent import fused
from orilla.runtime.engines import loader
from orilla.runtime.preprocessing.tensor_spec import only

STEPS, FEATURES = 12, 5
FUSED, LOOP, FLEX = "UNIDIRECTIONAL_SEQUENCE_LSTM", "WHILE", "Flex"


def lstm(**options):
    return layers.LSTM(6, bias_initializer="uniform", **options)


MODELS = {
    "lstm": lambda: [lstm(), layers.Dense(2)],
    "stacked": lambda: [lstm(return_sequences=True), lstm()],
    "backwards": lambda: [lstm(go_backwards=True, return_sequences=True)],
    "bidirectional": lambda: [layers.Bidirectional(lstm(return_sequences=True)), layers.Bidirectional(lstm())],
    "nested": lambda: [keras.Sequential([keras.Input((STEPS, FEATURES)), lstm(use_bias=False)]), layers.Dense(2)],
    "gru": lambda: [layers.GRU(6, bias_initializer="uniform"), layers.Dense(2)],
    "gru, reset before": lambda: [layers.GRU(6, reset_after=False, return_sequences=True)],
    "bidirectional gru": lambda: [layers.Bidirectional(layers.GRU(4), merge_mode="ave")],
    "simple rnn": lambda: [layers.Bidirectional(layers.SimpleRNN(4, return_sequences=True), merge_mode="mul")],
    "other activations": lambda: [lstm(recurrent_activation="hard_sigmoid", activation="relu")],
    "linear": lambda: [lstm(activation="linear")],
    "backwards both ways": lambda: [
        layers.Bidirectional(lstm(go_backwards=True, return_sequences=True), backward_layer=lstm(return_sequences=True))
    ],
    "masked": lambda: [layers.Masking(), lstm()],
    "own cell": lambda: [layers.RNN(layers.GRUCell(4))],
}
WITHOUT_FUSED = {
    "gru": "gru.* is a GRU, for which LiteRT has no fused operator",
    "gru, reset before": "GRU",
    "bidirectional gru": "GRU",
    "simple rnn": "SimpleRNN",
    "other activations": "hard_sigmoid and relu, but the fused operator supports only sigmoid and tanh",
    "linear": "sigmoid and linear",
    "masked": "receives a mask",
    "own cell": "a custom cell",
}
ONNX_OPERATORS = {"gru": "GRU", "gru, reset before": "GRU", "bidirectional gru": "GRU", "simple rnn": "RNN"}
ONNX_OPERATORS |= {"masked": "Loop", "own cell": "Loop"}


@pytest.fixture(params=MODELS)
def named(request, tmp_path):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((STEPS, FEATURES)), *MODELS[request.param]()])
    model.save(tmp_path / "model.keras")
    samples = np.random.default_rng(0).normal(size=(4, STEPS, FEATURES)).astype(np.float32)
    samples[:, -3:] *= request.param != "masked"
    return request.param, str(tmp_path / "model.keras"), samples, model.predict_on_batch(samples)


def answers(session, samples):
    return np.stack([only(session.run(sample)) for sample in samples])


def operators(session):
    return {details["op_name"] for details in session._interpreter._get_ops_details()}


def test_each_form_answers_as_keras_in_any_order(named, tmp_path):
    name, model, samples, expected = named
    keras_litert.convert(model, str(tmp_path / "loop.tflite"))
    keras_onnx.convert(model, str(tmp_path / "model.onnx"))
    sessions = {
        "loop": loader.load_bytes("litert", (tmp_path / "loop.tflite").read_bytes()),
        "onnx": loader.load_bytes("onnx", (tmp_path / "model.onnx").read_bytes()),
    }
    if name in WITHOUT_FUSED:
        with pytest.raises(ValueError, match=WITHOUT_FUSED[name]):
            fused(keras.models.load_model(model))
    else:
        keras_litert.convert_fused(model, str(tmp_path / "fused.tflite"))
        sessions["fused"] = loader.load_bytes("litert", (tmp_path / "fused.tflite").read_bytes())
        assert FUSED in operators(sessions["fused"])
        assert LOOP not in operators(sessions["fused"])
    assert LOOP in operators(sessions["loop"])
    for form, session in sessions.items():
        forward, backward = answers(session, samples), answers(session, samples[::-1])[::-1]
        assert np.abs(forward - expected).max() <= 1e-5, form
        assert np.array_equal(forward, backward), form
        assert form == "onnx" or not any(name.startswith(FLEX) for name in operators(session))


def test_onnx_has_an_operator_for_each(named, tmp_path):
    import onnx

    name, model, _, _ = named
    keras_onnx.convert(model, str(tmp_path / "model.onnx"))
    operators = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert ONNX_OPERATORS.get(name, "LSTM") in operators
    assert name in ("masked", "own cell") or "Loop" not in operators


@pytest.fixture(scope="module")
def stream_of(tmp_path_factory):
    def load(*hidden, convert=keras_litert.convert_fused):
        folder = tmp_path_factory.mktemp("stream")
        keras.utils.set_random_seed(2)
        model = keras.Sequential([keras.Input((STEPS, FEATURES)), *hidden])
        model.save(folder / "model.keras")
        convert(str(folder / "model.keras"), str(folder / "model.tflite"))
        return model, loader.load_bytes("litert", (folder / "model.tflite").read_bytes())

    return load


def test_one_step_a_call_equals_the_whole_sequence(stream_of):
    model, session = stream_of(lstm(return_sequences=True), lstm(), layers.Dense(3))
    sequences = np.random.default_rng(1).normal(size=(2, STEPS, FEATURES)).astype(np.float32)
    stream = session.stream()
    for sequence in sequences:
        stream.reset()
        for step in sequence:
            answer = only(stream.step(step))
        assert np.abs(answer - model.predict_on_batch(sequence[None])).max() <= 1e-5
        assert np.abs(answer - only(session.run(sequence))).max() <= 1e-5


def test_what_looks_ahead_or_forgets_is_not_streamed(stream_of):
    _, both_ways = stream_of(layers.Bidirectional(lstm()))
    with pytest.raises(EngineError, match="it reads the sequence backwards"):
        both_ways.stream()
    _, loop = stream_of(lstm(), convert=keras_litert.convert)
    with pytest.raises(EngineError, match="it has no fused LSTM"):
        loop.stream()
