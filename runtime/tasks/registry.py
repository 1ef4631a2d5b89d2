"""The table of tasks. A task is imported when it is first used."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from orilla.devices.plugins import Registry

if TYPE_CHECKING:
    from orilla.runtime.tasks.task import Task

BUILT_IN = {
    "classify": "orilla.runtime.tasks.classify:TASK",
    "segment": "orilla.runtime.tasks.segment:TASK",
    "detect": "orilla.runtime.tasks.detect:TASK",
    "regress": "orilla.runtime.tasks.regress:TASK",
    "text": "orilla.runtime.tasks.text:TASK",
    "tensor": "orilla.runtime.tasks.tensor:TASK",
}
"""The object of each task that is part of Orilla. It is imported when the task is first used."""


def _check(name: str, task: Task) -> str | None:
    return None if task.name == name else f"the attribute `name` of the task is `{task.name}`"


TASKS: Registry[Task] = Registry("task", "orilla.tasks", "orilla.runtime.tasks.task:Task", BUILT_IN, _check)
"""The tasks by name. Packages add tasks in the group `orilla.tasks`."""


@cache
def task_of(name: str) -> Task:
    """Return a task by name. Raise `ConfigError` if the name is unknown."""
    return TASKS.find(name)
