"""How much of the system a process may have."""

from __future__ import annotations

import resource

__all__ = ["allow_connections"]

_MOST_FILES = 1 << 14


def allow_connections() -> None:
    """Let this process have as many connections as the system allows, within reason."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
