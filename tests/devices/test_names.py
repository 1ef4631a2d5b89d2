"""Names and numbers in messages."""

from orilla.devices.names import counted


def test_a_number_agrees_with_its_noun():
    assert [counted(count, "frame") for count in (0, 1, 2)] == ["0 frames", "1 frame", "2 frames"]
    assert [counted(2, noun) for noun in ("class", "box", "batch")] == ["2 classes", "2 boxes", "2 batches"]
