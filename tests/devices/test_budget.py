"""Budget files: how they are read, and the errors for invalid files."""

import pytest

from orilla.devices.budget import SHIPPED, Range, budget_of, read_budgets
from orilla.devices.errors import ConfigError


def test_the_shipped_budgets_are_valid():
    budgets = read_budgets(SHIPPED)
    assert {budget.bundle for budget in budgets} == {"road", "convnet", "mobilenet", "sentiment"}
    assert {budget.device for budget in budgets} == {None, "pi4", "pi5"}


def test_a_number_is_the_upper_limit_and_times_also_have_a_lower_one():
    budget = budget_of(
        {"bundle": "road", "device": "pi4", "p90_ms": 20, "p99_ms": [0, 50], "max_mib": 1, "min_agreement": 0.9}
    )
    assert budget.p90_ms == Range(1.0, 20.0)
    assert budget.p99_ms == Range(0.0, 50.0)
    assert budget.max_mib == Range(0.0, 1.0)
    assert budget.min_agreement == Range(0.9, 1.0)
    assert budget_of({"bundle": "road", "max_drop": 0.5}).max_drop.low == float("-inf")
    assert list(budget.limits()) == ["p90_ms", "p99_ms", "max_mib", "min_agreement"]


def test_a_reference_is_relative_to_the_file(tmp_path):
    path = tmp_path / "b.toml"
    path.write_text('[[budget]]\nbundle = "road"\nreference = "full/road.orilla"\np90_ratio = 0.5\n')
    assert read_budgets(path)[0].reference == str(tmp_path / "full/road.orilla")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('[[budget]]\nbundle = "road"\np90_mx = 3\n', 3, "unknown key 'p90_mx': did you mean p90_ms?"),
        ('[[budget]]\nbundle = "a"\nmax_mib = 1\n[[budget]]\nbundle = "b"\nmax_mib = "1"\n', 6, "must be a number"),
        ('[[budget]]\nbundle = "road"\ndevice = "pi6"\np90_ms = 3\n', 3, "unknown device 'pi6'"),
        ('[[budget]]\nbundle = "road"\np90_ms = 3\n', 3, "p90_ms needs `device`"),
        ('[[budget]]\nbundle = "road"\n', 2, "sets no limit"),
        ('[[budget]]\nbundle = "road"\np90_ratio = [0.5, 0.1]\n', 3, "the lower limit must come first"),
        ('[[budget]]\nbundle = "road"\nmax_mib = -1\n', 3, "must be 0 or more"),
        ('[[budget]]\nbundle = "road"\nmax_mib = nan\n', 3, "must be a number"),
        ('[[budget]]\nbundle = "road"\nmax_mib = inf\n', 3, "must be a number"),
        ('[[budget]]\nbundle = "road"\ndevice = "coral-usb"\np90_ms = 3\n', 3, "this device matches no machine"),
        ('[[budget]]\nbundle = "road"\nmin_agreement = 98\n', 3, "must be a share from 0 to 1"),
        ('[[budget]]\nbundle = "road"\nthreads = 0\nmax_mib = 1\n', 3, "must be a whole number above 0"),
        ("[[budget]]\nmax_mib = 1\n", 1, "has no bundle"),
        ("budget = 3\n", 1, "[[budget]]"),
        ("[budgets]\n", 1, "unknown key 'budgets'"),
    ],
)
def test_an_invalid_file_is_rejected_with_the_line(tmp_path, text, line, message):
    path = tmp_path / "budgets.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_budgets(path)
    assert f"{path}:{line}: " in str(caught.value)
    assert message in str(caught.value)


def test_all_errors_in_a_file_are_told_together(tmp_path):
    path = tmp_path / "b.toml"
    first, second = '[[budget]]\nbundle = "a"\np90_mx = 3\nthreads = 0\n', '[[budget]]\nbundle = "b"\nmax_mib = -1\n'
    path.write_text(first + second)
    with pytest.raises(ConfigError) as caught:
        read_budgets(path)
    for part in (
        "has 3 errors: line 3: unknown key 'p90_mx'",
        "; line 4: threads = 0: must be",
        "; line 7: max_mib = -1",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [("", "has no [[budget]] table"), ("[[budget]", "b.toml: ")])
def test_empty_damaged_and_missing_files_are_rejected(tmp_path, text, message):
    (tmp_path / "b.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_budgets(tmp_path / "b.toml")
    assert message in str(caught.value)
    with pytest.raises(ConfigError, match="no such file"):
        read_budgets(tmp_path / "missing.toml")
