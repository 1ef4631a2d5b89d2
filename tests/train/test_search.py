"""The search for learning rate, weight decay, batch size and dropout rate."""

import pytest

from orilla.devices.errors import DataError
from orilla.devices.progress import NoProgress
from orilla.train import search
from orilla.train.options import TrainOptions
from orilla.train.search import SearchOptions, SearchTask
from orilla.train.train import train


class InterruptInTrial(NoProgress):
    """Progress display that raises `KeyboardInterrupt` at the beginning of a trial."""

    def __init__(self, trial):
        self._trials, self._trial = 0, trial

    def message(self, text):
        self._trials += text.startswith("trial ")
        if self._trials == self._trial:
            raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["random", "hyperband"])
def test_a_search_resumes_after_an_interruption_and_records_its_result(digits, tmp_path, method):
    options = TrainOptions(model="mlp-relu", data=str(digits), epochs=3, hold_out="0.2", drop_leaks=True)
    named = {"command": "", "search_options": SearchOptions(method, 4)}
    with pytest.raises(KeyboardInterrupt):
        train(options, tmp_path / "run", progress=InterruptInTrial(3), **named)
    card = train(options, tmp_path / "run", **named)
    assert card.search["method"] == method
    assert 3 <= card.search["trials"] <= 6
    assert card.learning_rate == card.search["learning_rate"]
    assert 0 <= card.search["score"] <= 1


def test_a_resumed_search_chooses_the_same_of_equal_trials(tmp_path):
    options = TrainOptions(model="mlp-relu", data="scenes", batch=8)
    task = SearchTask(options, SearchOptions("random", 3), 2, lambda options, epochs, trial: 0.5)
    first, resumed = (search.search(task, tmp_path, signature="one") for _ in range(2))
    assert first == resumed


def test_a_search_without_a_successful_trial_says_why(tmp_path):
    def failing(options, epochs, trial):
        msg = "loss is nan in epoch 1"
        raise DataError(msg)

    task = SearchTask(TrainOptions(model="mlp-relu", data="scenes", batch=8), SearchOptions("random", 2), 3, failing)
    with pytest.raises(DataError, match=r"no trial of the search succeeded: .*loss is nan in epoch 1"):
        search.search(task, tmp_path, signature="one")
