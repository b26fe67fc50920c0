"""Keys of those who may read what a run publishes.

A folder of keys holds

=================== =============================================================================
``pipeline.json``   the pair of the runs that publish; private
``readers/NAME.pub`` one reader's public key; who is not there is not let in
``NAME.key``        all that this reader needs, to be handed over in private
``page.key``        the same for the page of a run
=================== =============================================================================
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TypeVar

import msgspec
import zmq

from streamer.config import Config
from streamer.errors import UserError
from streamer.transport.keys import Pair, show_key

__all__ = ["PAGE_KEY", "PublishKeys", "ReaderKey", "make_reader_key", "publish_keys"]

PAGE_KEY = "page.key"
_PIPELINE = "pipeline.json"
_READERS = "readers"
_OWN = "keys"
_Z85 = r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}"

_T = TypeVar("_T", bound="Pair | ReaderKey")


class ReaderKey(Pair, frozen=True):
    """A reader's pair, and the public key by which it knows the pipeline."""

    server: str

    @classmethod
    def read(cls, path: Path) -> ReaderKey:
        """Read the file that `make_reader_key` has made.

        Raises
        ------
        UserError
            It is none, or cannot be read.
        """
        return _read(path, cls)

    def prepare(self, socket: zmq.Socket[bytes]) -> None:
        """Let a socket that is not yet connected show the key."""
        show_key(socket, self, self.server)


class PublishKeys:
    """A folder of keys, for the run that publishes.

    Raises
    ------
    UserError
        It is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.pair = _read(folder / _PIPELINE, Pair)

    def is_reader(self, public: str) -> bool:
        """Tell whether a reader has that public key, by what the folder says now."""
        for path in (self._folder / _READERS).glob("*.pub"):
            try:
                if path.read_text(encoding="ascii").strip() == public:
                    return True
            except (OSError, UnicodeError):
                continue  # what cannot be read lets nobody in
        return False


def publish_keys(config: Config, out: Path) -> Path | None:
    """Return the folder of the keys of those who may read what a run publishes; None without keys.

    What a run publishes on several hosts is encrypted, whether or not anybody but its page is to
    read it: it then has keys of its own in its folder, while it goes on.
    """
    if config.publish.keys is not None or config.insecure or not config.spans_hosts:
        return config.publish.keys
    return out / _OWN


def make_reader_key(folder: Path, name: str) -> Path:
    """Make a key for a reader, and what else a folder of keys needs; return the reader's file.

    The page of a run is a reader that may have its key already.

    Raises
    ------
    UserError
        The reader has a key, the name is none, or nothing can be written there.
    """
    if not re.fullmatch(r"\w[\w.-]{0,63}", name):
        raise UserError(f"{name!r} is no name for a key: use letters, digits, - and _")
    try:
        (folder / _READERS).mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        pipeline = folder / _PIPELINE
        if not pipeline.exists():
            _write(pipeline, msgspec.json.encode(Pair.make()))
        pair = _read(pipeline, Pair)
        page = folder / PAGE_KEY
        if not page.exists():
            _write_key(folder, "page", pair)
        return page if name == "page" else _write_key(folder, name, pair)
    except FileExistsError as error:
        raise UserError(
            f"{error.filename} is there already: choose another --name, or remove it first"
        ) from None
    except OSError as error:
        raise UserError(f"cannot make keys in {folder}: {error.strerror}") from None


def _write_key(folder: Path, name: str, pipeline: Pair) -> Path:
    own = Pair.make()
    path = folder / f"{name}.key"
    key = ReaderKey(public=own.public, secret=own.secret, server=pipeline.public)
    _write(path, msgspec.json.encode(key))
    _write(folder / _READERS / f"{name}.pub", own.public.encode() + b"\n")
    return path


def _write(path: Path, content: bytes) -> None:
    """Write a new file that nobody else can read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _read(path: Path, kind: type[_T]) -> _T:
    try:
        made = msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise UserError(
            f"cannot read the key {path} ({error.strerror}): 'launch.py keys DIR' makes keys"
        ) from None
    except (msgspec.DecodeError, UnicodeError):
        raise UserError(f"{path} is no key that 'launch.py keys DIR' has made") from None
    if not all(re.fullmatch(_Z85, text) for text in msgspec.structs.astuple(made)):
        raise UserError(f"{path} is no key that 'launch.py keys DIR' has made")
    return made
