"""The token that page and metrics ask for where other machines reach them."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path

from streamer.config import Config
from streamer.errors import UserError
from streamer.transport.exposure import is_loopback

__all__ = ["CONTROL_FILE", "TOKEN_FILE", "needs_token", "own_token", "read_token", "token_path"]

TOKEN_FILE = "token"
"""Its name in a run folder."""
CONTROL_FILE = "control.token"
"""Name, in the folder of a run that goes on, of the token that changes something of it."""
_TOKEN = r"[\w.~+/=-]{16,}"


def needs_token(host: str, config: Config) -> bool:
    """Tell whether what is served on a host asks for a token."""
    return not (config.insecure or is_loopback(host))


def token_path(config: Config, out: Path) -> Path:
    """Return where the token of a run is."""
    return config.token_file or out / TOKEN_FILE


def own_token(path: Path) -> str:
    """Return the token in a file, which is made if it is not there, for its user alone.

    Raises
    ------
    UserError
        What is there is no token, or it cannot be read or made.
    """
    try:
        if not path.exists():
            _make(path)
    except OSError as error:
        raise UserError(f"cannot use the token in {path}: {error.strerror}") from None
    return read_token(path)


def read_token(path: Path) -> str:
    """Return the token in a file.

    Raises
    ------
    UserError
        There is none, what is there is no token, or it cannot be read.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise UserError(f"cannot use the token in {path}: {why}") from None
    if not re.fullmatch(_TOKEN, token):
        raise UserError(
            f"{path} holds no token, which is 16 letters, digits or more: remove it, and one is"
            " made"
        )
    return token


def _make(path: Path) -> None:
    """Make a token, unless another process makes one at the same time."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24))
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)
