import pytest

from orilla.runtime.sinks.text import summary


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"task": "segment", "label": "road", "fraction": 0.421, "centre_xy": None, "top_y": None}, "road 42 %"),
        (
            {"task": "segment", "classes": [{"label": "sky", "fraction": 0.5}, {"label": "car", "fraction": 0.25}]},
            "sky 50 %, car 25 %",
        ),
        (
            {"task": "detect", "boxes": [{"label": "car"}, {"label": "person"}, {"label": "person"}]},
            "2 person, 1 car",
        ),
        ({"task": "detect", "boxes": []}, "nothing"),
        (
            {"task": "detect", "boxes": [], "counts": {"gate": {"in": 2, "out": 1, "classes": {}}}},
            "nothing, gate in 2, gate out 1",
        ),
        ({"task": "classify", "top": {"label": "cat", "score": 0.934}, "top_k": []}, "cat 0.93"),
        (
            {"task": "regress", "values": {"steering": -3.14159, "brake": 0.5}, "units": {"steering": "deg"}},
            "steering -3.14 deg, brake 0.5",
        ),
        ({"task": "count", "count": 3}, "count 3"),
    ],
)
def test_an_answer_in_a_few_words(answer, text):
    assert summary(answer) == text
