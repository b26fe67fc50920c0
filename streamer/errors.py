"""The errors a user is expected to read."""

from __future__ import annotations

__all__ = ["RunError", "UserError"]


class UserError(Exception):
    """A mistake in what the user gave; its text is one line that says what to do."""


class RunError(RuntimeError):
    """What was asked for could not be brought to its end; the text says why."""
