import io

import pytest
from rich.console import Console

from streamer.run import progress
from streamer.run.progress import progress_bar


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when told."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def plain():
    return Console(file=io.StringIO(), force_terminal=False, width=40)


def test_a_pipe_gets_a_line_every_few_seconds(clock):
    console = plain()
    with progress_bar(console) as bar:
        task = bar.add_task("learning", total=2000)
        for step in range(1, 12):
            clock[0] += 1.0
            bar.update(
                task, completed=100 * step, note=f"loss {1 / step:.3f}, and more than 40 letters"
            )
    lines = console.file.getvalue().splitlines()
    assert lines == [
        "learning: 500 of 2,000  loss 0.200, and more than 40 letters",
        "learning: 1,000 of 2,000  loss 0.100, and more than 40 letters",
    ]


def test_a_pipe_hears_of_what_is_counted_by_itself(clock):
    console = plain()
    with progress_bar(console) as bar:
        task = bar.add_task("finding peaks", total=3)
        for _ in bar.track(range(3), task_id=task):
            clock[0] += 6.0
    assert console.file.getvalue().splitlines()[-1] == "finding peaks: 3 of 3"


def test_a_terminal_gets_a_bar_with_the_note(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=80)
    with progress_bar(console) as bar:
        task = bar.add_task("learning", total=2, note="loss 0.5")
        bar.add_task("drawing", total=None)
        bar.update(task, completed=2)
    assert "2/2 loss 0.5" in console.file.getvalue()
