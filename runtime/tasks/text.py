"""Classification of texts. The answers and metrics are those of the task `classify`."""

from __future__ import annotations

from orilla.runtime.tasks.classify import ClassifyTask


class TextTask(ClassifyTask):
    """The task `text`: scores of the classes of a text."""

    name = "text"
    input_kinds = ("text",)


TASK = TextTask()
