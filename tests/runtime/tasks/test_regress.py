import json

import numpy as np
import pytest

from orilla.devices.errors import BundleError, ConfigError, DataError
from orilla.runtime.tasks.decoding import Decoding
from orilla.runtime.tasks.metrics.regression import RegressionMetrics
from orilla.runtime.tasks.regress import TASK, normalised, values_of
from orilla.runtime.tasks.task import DecodeContext, GroundTruth, Target

NAMES = ("steering", "throttle")
RANGES = ((-25.0, 25.0), (0.0, 1.0))
CONTEXT = DecodeContext(NAMES, decoding=Decoding(units=("deg", ""), ranges=RANGES, normalised=True))
PLAIN = DecodeContext(NAMES)


def outputs(*numbers):
    return {"output": np.array(numbers, np.float32)}


def test_the_answer_gives_numbers_by_name():
    result = TASK.decode(outputs(0.5, -1.0), CONTEXT)
    assert result["steering"] == 12.5
    assert dict(result) == {"steering": 12.5, "throttle": 0.0}
    assert result.units == {"steering": "deg"}
    assert result.ranges == dict(zip(NAMES, RANGES, strict=True))
    assert "speed" not in result
    with pytest.raises(KeyError, match="unknown value of the model 'speed'"):
        result["speed"]


def test_the_document_has_a_unit_only_where_there_is_one():
    assert TASK.decode(outputs(1 / 3, 0), CONTEXT).to_dict() == {
        "task": "regress",
        "values": {"steering": 8.33333, "throttle": 0.5},
        "units": {"steering": "deg"},
    }
    assert json.dumps(TASK.decode(outputs(2, 3), PLAIN).to_dict()) == (
        '{"task": "regress", "values": {"steering": 2.0, "throttle": 3.0}}'
    )


def test_normalised_outputs_never_leave_the_range():
    assert values_of(outputs(-3, 3), CONTEXT).tolist() == [-25, 1]
    values = np.random.default_rng(0).uniform((-25, 0), (25, 1), (50, 2))
    back = [values_of({"output": row}, CONTEXT) for row in normalised(values, CONTEXT.decoding)]
    assert np.array(back) == pytest.approx(values, abs=1e-5)


def test_the_result_owns_its_data():
    array = np.array([1, 2], np.float32)
    result = TASK.decode({"output": array}, PLAIN)
    array[:] = 0
    assert result["throttle"] == 2


def test_several_outputs_follow_one_another_in_the_order_of_their_names():
    split = {"b": np.array([2], np.float32), "a": np.array([1], np.float32)}
    assert values_of(split, PLAIN).tolist() == [1, 2]


def test_the_tolerance_is_a_share_of_the_range():
    reference = outputs(0, 0)
    assert TASK.agreeing(outputs(0.039, 0.041), reference, CONTEXT).tolist() == [True, False]
    assert TASK.agreeing(outputs(103, 1.05), outputs(100, 1), PLAIN).tolist() == [True, False]


def test_the_drawing_fits_on_any_image():
    result = TASK.decode(outputs(0.5, 0.2), CONTEXT)
    for height, width in ((1, 1), (7, 5), (40, 60), (120, 160), (50, 2000), (720, 1280)):
        image = np.full((height, width, 3), 100, np.uint8)
        assert result.draw(image) == ["steering 12.5 deg", "throttle 0.6"]
        assert (image != 100).any() or height < 5


def test_a_value_without_a_range_is_only_text():
    image = np.zeros((90, 160, 3), np.uint8)
    assert TASK.decode(outputs(1, 2), PLAIN).draw(image) == ["steering 1", "throttle 2"]
    assert not image.any()


def test_the_arrow_points_to_the_side_of_the_number():
    sums = []
    for share in (-0.8, 0.8):
        image = np.zeros((90, 160, 3), np.uint8)
        TASK.decode({"output": np.array([share], np.float32)}, DecodeContext(("steering",), decoding=ONE)).draw(image)
        upper = image[:50].any(axis=2)
        sums.append(int(upper[:, 80:].sum()) - int(upper[:, :80].sum()))
    assert sums[0] < 0 < sums[1]


ONE = Decoding(ranges=((-1.0, 1.0),), normalised=True)


def test_the_metrics_of_a_worked_example():
    true = np.array([[0.0, 0.5], [10.0, 0.5], [20.0, 0.5]])
    found = true + np.array([[3.0, 0.1], [-3.0, 0.1], [0.0, 0.1]])
    metrics = RegressionMetrics(found, true, NAMES, np.array([50.0, 1.0])).metrics()
    assert metrics == pytest.approx(
        {
            "closeness": 1 - (2 / 50 + 0.1) / 2,
            "mae/steering": 2,
            "rmse/steering": np.sqrt(6),
            "r2/steering": 1 - 18 / 200,
            "mae/throttle": 0.1,
            "rmse/throttle": 0.1,  # There is no R2, because all true values are equal.
        }
    )


def test_weights_count_samples_several_times():
    rng = np.random.default_rng(2)
    true, found = rng.normal(size=(6, 1)), rng.normal(size=(6, 1))
    spans, weights = np.ones(1), np.array([2, 0, 1, 3, 1, 0])
    repeated = RegressionMetrics(np.repeat(found, weights, 0), np.repeat(true, weights, 0), ("a",), spans)
    weighted = RegressionMetrics(found, true, ("a",), spans).metrics(weights.astype(float))
    assert weighted == pytest.approx(repeated.metrics())


def test_the_values_of_a_data_set_may_have_another_order_and_more_names():
    indices = TASK.class_indices(("speed", "throttle", "steering"), NAMES, "tub")
    assert indices == (2, 1)
    target = Target(TASK, PLAIN, indices, 255)
    truths = [GroundTruth(str(index), np.array([9, index, -index])) for index in range(3)]
    answers = [(truth, outputs(-index, index)) for index, truth in enumerate(truths)]
    assert target.metrics(answers).metrics()["closeness"] == 1
    with pytest.raises(ConfigError, match="unknown value of tub 'steering'"):
        TASK.class_indices(("speed",), NAMES, "tub")
    with pytest.raises(DataError, match="sample 0 has 1 values, but the model needs 2"):
        target.metrics([(GroundTruth("0", np.array([1])), outputs(0, 0))])


def test_names_must_match_the_outputs():
    assert TASK.labels_for([(2,)], ()) == ("value0", "value1")
    assert TASK.labels_for([(1,)], ()) == ("value",)
    assert TASK.labels_for([(1,), (1,)], NAMES) == NAMES
    with pytest.raises(ConfigError, match="has 2 names, but the model outputs 3 values"):
        TASK.labels_for([(3,)], NAMES)
    with pytest.raises(ConfigError, match="use task=tensor"):
        TASK.labels_for([(4, 4)], ())
    with pytest.raises(BundleError, match="the variant outputs 3 numbers, but the model has 2 named values"):
        TASK.decode(outputs(1, 2, 3), PLAIN)
    for decoding in (Decoding(units=("deg",)), Decoding(ranges=((0.0, 1.0),))):
        with pytest.raises(ConfigError, match="but the model outputs 2 values"):
            TASK.check_outputs(DecodeContext(NAMES, decoding=decoding), {"output": (2,)})


@pytest.mark.parametrize(
    ("decoding", "problem"),
    [
        (Decoding(normalised=True), "their ranges are missing"),
        (Decoding(ranges=((1.0, 1.0),)), "1 to 1 is not a range"),
        (Decoding(ranges=((0.0, float("nan")),)), "0 to nan is not a range"),
    ],
)
def test_wrong_settings_are_named(decoding, problem):
    assert problem in decoding.problem()


def test_golden_samples_are_spread_over_the_values():
    values = np.array([[3, 0], [1, 0], [5, 0], [2, 0], [4, 0]], np.float32)
    assert TASK.choose_golden({"output": values}, PLAIN, 3) == [0, 1, 2]
