"""The one error a user is expected to read."""

from __future__ import annotations

__all__ = ["UserError"]


class UserError(Exception):
    """A mistake in what the user gave; its text is one line that says what to do."""
