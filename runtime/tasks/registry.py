"""The table of tasks. A task is imported when it is first used."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from orilla.devices.errors import unknown_name
from orilla.runtime.tasks.task import Task

TASKS = {
    "classify": "orilla.runtime.tasks.classify",
    "segment": "orilla.runtime.tasks.segment",
    "detect": "orilla.runtime.tasks.detect",
    "text": "orilla.runtime.tasks.text",
    "tensor": "orilla.runtime.tasks.tensor",
}
"""Module of each task. Its attribute `TASK` is the task."""


@cache
def task_of(name: str) -> Task:
    """Return a task by name. Raise `ConfigError` if the name is unknown."""
    if name not in TASKS:
        raise unknown_name(name, TASKS, kind="task")
    task: Task = import_module(TASKS[name]).TASK
    return task
