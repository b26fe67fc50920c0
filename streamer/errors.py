"""The errors a user is expected to read."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # not all who may fail check configurations
    from pydantic import ValidationError

__all__ = ["RunError", "UserError", "as_line", "did_you_mean", "misfit", "well_formed"]

_LONGEST_LINE = 400
_LONGEST_ADVICE = 2000


_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 200


class UserError(Exception):
    """A mistake in what the user gave; its text is one line that says what to do.

    What it quotes may be anything: it is made a line that can be printed.
    """

    def __init__(self, text: str) -> None:
        super().__init__(as_line(text, _LONGEST_ADVICE))


class RunError(RuntimeError):
    """What was asked for could not be brought to its end; the text says why."""


def as_line(text: str, longest: int = _LONGEST_LINE) -> str:
    """Return a text as one line that can be printed, its end left out where it is too long."""
    if len(text) <= longest and text.isprintable():
        return text
    line = " ".join(well_formed(text[: 2 * longest]).split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return line if len(line) <= longest else f"{line[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"


def well_formed(text: str) -> str:
    """Return a text that has UTF-8: what is half of a pair of surrogates is replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


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
    # Of a key that takes a number or a word, pydantic names also which of the two it tried.
    keys = [str(part) for part in first["loc"] if not str(part).startswith("constrained-")]
    name = (prefix + ".".join(keys)).rstrip(".")
    if first["type"] == "extra_forbidden":
        same = [key for key in known if key.rpartition(".")[2] == keys[-1]]
        hint = f"; did you mean {same[0]}?" if same else did_you_mean(name, known)
        return f"unknown configuration key {name}" + (
            hint or f"; known are {', '.join(known) or 'none'}"
        )
    if first["type"] == "missing":
        return f"{name} has no default: it must be given"
    message = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{name} = {_short.repr(first['input'])} does not fit: it should be {message}"
