from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view reads all that there is at once, however little of a processor it gets."""
    monkeypatch.setattr("streamer.dashboard.view._READ_S", 60.0)
