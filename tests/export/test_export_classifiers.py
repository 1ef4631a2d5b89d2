"""Export of classifiers: balanced calibration, redistributable golden data, recurrent models without Flex operators."""

import keras
import msgspec
import numpy as np
import pytest
from helpers import factories

from orilla.devices.errors import DataError
from orilla.export.data.draw import divide
from orilla.export.export import ExportOptions, export
from orilla.export.recommend import recommended
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.run_folder import encode_json, read_run
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.tasks.classify import clear_decisions
from orilla.runtime.verify import verify


def test_calibration_takes_as_many_of_each_class(tmp_path):
    factories.class_folders(tmp_path / "odd" / "train", {"": 30}, classes=("many",))
    factories.class_folders(tmp_path / "odd" / "train", {"": 5}, classes=("few",), seed=99)
    factories.class_folders(tmp_path / "odd" / "val", {"": 1}, classes=("few", "many"))
    dataset = open_dataset(tmp_path / "odd")
    chosen, checked = divide(dataset, dataset, count=10, limit=None, seed=0)
    assert sorted(dataset.labels("train")[index] for _, index in chosen) == [0] * 5 + [1] * 5
    assert checked == [("val", 0), ("val", 1)]


def test_golden_images_may_come_from_another_data_set(tmp_path, animals):
    run = factories.classifier_run(tmp_path / "run", animals)
    options = ExportOptions(recipes="litert_fp32", golden="scenes", golden_count=2)
    manifest = export(run, tmp_path / "b.orilla", options)
    assert len(manifest.golden) == 2
    assert all(verdict.passed for verdict in verify(Bundle.open(tmp_path / "b.orilla"), manifest.variants))


def test_golden_texts_may_come_from_a_file(tmp_path, reviews):
    run = factories.text_run(tmp_path / "run", reviews)
    (tmp_path / "own.txt").write_text("a lovely film\na dreadful plot\nthe plot of the film\n")
    options = ExportOptions(recipes="litert_fp32", golden=str(tmp_path / "own.txt"), golden_count=3)
    export(run, tmp_path / "b.orilla", options)
    bundle = Bundle.open(tmp_path / "b.orilla")
    texts = {bundle.read(golden.raw).decode() for golden in bundle.manifest.golden}
    assert texts == {"a lovely film", "a dreadful plot", "the plot of the film"}
    with pytest.raises(DataError, match="scenes contains images, but the model takes texts"):
        export(run, tmp_path / "c.orilla", ExportOptions(recipes="litert_fp32", golden="scenes"))


def test_golden_samples_have_clear_decisions():
    outputs = np.array([[0.5, 0.5], [0.9, 0.1], [0.3, 0.7], [0.05, 0.95], [0.55, 0.45]], np.float32)
    assert clear_decisions(outputs, 2) == [1, 2]
    assert clear_decisions(outputs, 3) == [1, 2, 3]
    assert clear_decisions(outputs, 4) == [1, 2, 3, 4]


def test_mixed_precision_is_never_the_default_unmeasured(text_bundle):
    manifest = Bundle.open(text_bundle).manifest
    sizes = {"litert_fp32": 2, "litert_wi8_afp32": 1}
    untimed = tuple(
        msgspec.structs.replace(variant, latency=None) for variant in manifest.variants if variant.format == "tflite"
    )
    assert "_wi8_afp32" not in recommended(untimed, sizes)


def test_a_recurrent_model_needs_no_flex_operators(text_bundle):
    from ai_edge_litert import schema_py_generated as schema

    bundle = Bundle.open(text_bundle)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bundle.read("variants/litert_fp32.tflite"), 0))
    assert not [code.customCode for code in model.operatorCodes if code.customCode]


def test_a_single_logit_keeps_its_range_in_int8(tmp_path, animals):
    """A single logit has equal minimum and maximum in each sample, so moving averages would give an empty range."""
    run = factories.classifier_run(tmp_path / "run", animals)
    model = keras.models.load_model(run / "model.keras")
    logit = keras.layers.Dense(1, activation="sigmoid", name="probability")
    single = keras.Model(model.input, logit(model.layers[-2].output))
    logit.set_weights([np.array([[-4.0]] * 3 + [[4.0]] * 3)[::-1], np.zeros(1)])
    single.save(run / "model.keras")
    manifest = export(run, tmp_path / "b.orilla", ExportOptions(recipes="litert_wi8_ai8"))
    (variant,) = manifest.variants
    assert variant.check.mean_error < 0.02
    assert variant.check.max_error < 0.1


def test_what_a_training_skipped_is_no_matter_of_its_export(tmp_path):
    data = factories.class_folders(tmp_path / "data", {"train": 12, "val": 6})
    run = factories.classifier_run(tmp_path / "run", data)
    for part in ("train", "val"):
        (data / part / "cat" / "zz: bad.png").write_bytes(b"no picture")
    options = ExportOptions(recipes="litert_wi8_ai8")
    with pytest.raises(DataError, match=r"zz: bad\.png"):
        export(run, tmp_path / "b.orilla", options)
    card, _ = read_run(run)
    skipped = msgspec.structs.replace(card.data, skipped=("cat/zz: bad.png: damaged",))
    (run / "card.json").write_bytes(encode_json(msgspec.structs.replace(card, data=skipped)))
    assert export(run, tmp_path / "b.orilla", options).report.count == 12
    said = ExportOptions(recipes="litert_wi8_ai8", validation=f"{data}/")
    assert export(run, tmp_path / "c.orilla", said).report.count == 12
