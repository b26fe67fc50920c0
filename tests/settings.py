"""Settings as words of the command line."""

from __future__ import annotations

__all__ = ["sets"]


def sets(*settings: str) -> list[str]:
    """Return the words that set each ``key=value``."""
    return [word for setting in settings for word in ("--set", setting)]
