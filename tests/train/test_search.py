"""The search for learning rate, weight decay and dropout."""

import pytest

from orilla.devices.errors import DataError
from orilla.train import search
from orilla.train import train as trainer
from orilla.train.options import TrainOptions
from orilla.train.search import SearchOptions, SearchTask
from orilla.train.train import train


@pytest.mark.parametrize("method", ["random", "hyperband"])
def test_a_search_resumes_after_an_interruption_and_records_its_result(digits, tmp_path, monkeypatch, method):
    options = TrainOptions(model="mlp-relu", data=str(digits), epochs=3, hold_out="0.2", drop_leaks=True)
    run, count = trainer.run_job, []

    def counted(*arguments, **options):
        count.append(1)
        if len(count) == 3:
            raise KeyboardInterrupt
        return run(*arguments, **options)

    monkeypatch.setattr(trainer, "run_job", counted)
    with pytest.raises(KeyboardInterrupt):
        train(options, tmp_path / "run", command="", search_options=SearchOptions(method, 4))
    monkeypatch.setattr(trainer, "run_job", run)
    card = train(options, tmp_path / "run", command="", search_options=SearchOptions(method, 4))
    assert card.search["method"] == method
    assert 3 <= card.search["trials"] <= 6
    assert card.learning_rate == card.search["learning_rate"]
    assert 0 <= card.search["score"] <= 1


def test_a_resumed_search_chooses_the_same_of_equal_trials(tmp_path):
    options = TrainOptions(model="mlp-relu", data="scenes", batch=8)
    task = SearchTask(options, SearchOptions("random", 3), 2, lambda options, epochs, trial: 0.5)
    first, resumed = (search.search(task, tmp_path, signature="one") for _ in range(2))
    assert first == resumed


def test_a_search_without_a_successful_trial_says_why(digits, tmp_path, monkeypatch):
    def failing(*arguments, **options):
        msg = "loss is nan in epoch 1"
        raise DataError(msg)

    monkeypatch.setattr(trainer, "run_job", failing)
    options = TrainOptions(model="mlp-relu", data=str(digits), epochs=3, hold_out="0.2", drop_leaks=True)
    with pytest.raises(DataError, match=r"no trial of the search succeeded: .*loss is nan in epoch 1"):
        train(options, tmp_path / "run", command="", search_options=SearchOptions("random", 2))
