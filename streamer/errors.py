"""The errors a user is expected to read."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Sequence

from pydantic import ValidationError

__all__ = ["RunError", "UserError", "did_you_mean", "misfit"]


_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 200


class UserError(Exception):
    """A mistake in what the user gave; its text is one line that says what to do."""


class RunError(RuntimeError):
    """What was asked for could not be brought to its end; the text says why."""


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return a question to go behind a wrong name; empty where none of the known is close."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def misfit(error: ValidationError, known: Sequence[str], prefix: str = "") -> str:
    """Turn pydantic's first complaint of a configuration into one line.

    Parameters
    ----------
    known
        All keys that there are.
    prefix
        What stands in the configuration before the keys that pydantic names.
    """
    first = error.errors()[0]
    keys = [str(part) for part in first["loc"]]
    name = (prefix + ".".join(keys)).rstrip(".")
    if first["type"] == "extra_forbidden":
        hint = did_you_mean(name, known)
        same = [key for key in known if key.rpartition(".")[2] == keys[-1]]
        if not hint and same:
            hint = f"; did you mean {same[0]}?"
        return f"unknown configuration key {name}" + (
            hint or f"; known are {', '.join(known) or 'none'}"
        )
    if first["type"] == "missing":
        return f"{name} has no default: it must be given"
    message = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{name} = {_short.repr(first['input'])} does not fit: it should be {message}"
