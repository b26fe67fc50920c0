"""How far work is: a bar in a terminal, a line every few seconds in logs and pipes."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["can_redraw", "progress_bar"]

_PLAIN_EVERY_S = 5.0


def can_redraw(console: Console) -> bool:
    """Tell whether lines that were written can be written anew."""
    return console.is_terminal and not console.is_dumb_terminal


def progress_bar(console: Console | None, *, transient: bool = False) -> Progress:
    """Return a progress bar, whose tasks may have the field `note`, words to stand beside it.

    Parameters
    ----------
    console
        Where to show it; None takes standard output.
    transient
        Leave nothing of it when it is over.
    """
    console = console or Console()
    if not can_redraw(console):
        return _Lines(console)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Note(),
        TimeRemainingColumn(),
        console=console,
        transient=transient,
    )


class _Note(ProgressColumn):
    """The words that a task has beside its bar."""

    def render(self, task: Task) -> Text:
        """See `ProgressColumn.render`."""
        return Text(task.fields.get("note", ""))


class _Lines(Progress):
    """Says how far each task is when it has something new to say and the last line is old."""

    def __init__(self, console: Console) -> None:
        super().__init__(console=console, auto_refresh=False, disable=True)
        self._next = time.monotonic() + _PLAIN_EVERY_S

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """See `Progress.update`."""
        super().update(task_id, **changes)
        self._say(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """See `Progress.advance`."""
        super().advance(task_id, advance)
        self._say(task_id)

    def _say(self, task_id: TaskID) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _PLAIN_EVERY_S
        task = self._tasks[task_id]
        of = "" if task.total is None else f" of {task.total:,.0f}"
        line = f"{task.description}: {task.completed:,.0f}{of}  {task.fields.get('note', '')}"
        self.console.print(line.rstrip(), highlight=False, soft_wrap=True)
