"""What a user calls a recording: a file and the place in it, as several programs write that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from streamer.errors import UserError

__all__ = ["OF_FILES", "Address", "is_live"]

OF_FILES = ("silx", "fabio")
"""What stands before ``:`` or ``://`` where a file follows."""

_SCHEME = re.compile(rf"(?:{'|'.join(OF_FILES)}):(?://)?")
_QUERY = re.compile(r"/|(?:data_)?(?:path|slice)=")
_NUMBER = re.compile(r"-?\d+|(-?\d*):(-?\d*)(?::(\d*))?")


def is_live(text: str) -> bool:
    """Tell whether what a user gave is the address of a stream, not of files."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme not in OF_FILES


@dataclass(frozen=True, slots=True)
class Address:
    """Where frames are to be found."""

    path: Path
    """A file, a folder, or a pattern of files."""
    inner: str | None = None
    """Path of the frames in each file."""
    frames: str | None = None
    """Which of them, as ``source.frames`` has it."""

    @classmethod
    def of(cls, text: str) -> Address:
        """Take an address apart.

        ``file``, ``file::/entry/data``, and the forms of silx:
        ``silx:file?path=/entry/data&slice=3`` and ``file?/entry/data``.

        Raises
        ------
        UserError
            What stands behind the file cannot be understood.
        """
        if Path(text).exists():
            return cls(Path(text))
        bare = _SCHEME.sub("", text, count=1)
        name, mark, query = bare.partition("?")
        if mark and _QUERY.match(query) and Path(name).exists():
            return cls._of_query(text, Path(name), query)
        if "::" not in bare:
            return cls(Path(bare))
        name, _, inner = bare.rpartition("::")
        if not inner:
            raise UserError(f"{text}: write the path of the frames behind ::, or leave :: out")
        return cls(Path(name), inner)

    @classmethod
    def _of_query(cls, text: str, path: Path, query: str) -> Address:
        if query.startswith("/"):
            inner, _, rest = query.partition("&")
            query = f"path={inner}" + (f"&{rest}" if rest else "")
        said: dict[str, str] = {}
        for key, value in parse_qsl(query, keep_blank_values=True):
            said[{"data_path": "path", "data_slice": "slice"}.get(key, key)] = value
        if unknown := sorted(said.keys() - {"path", "slice"}):
            raise UserError(f"{text}: {unknown[0]} is not known: path and slice are")
        first, *others = said.get("slice", ":").strip("[]()").replace(" ", "").split(",")
        if not _NUMBER.fullmatch(first) or any(one not in ("...", ":", "") for one in others):
            raise UserError(
                f"{text}: the slice can choose among frames alone, such as slice=3 or slice=10:20"
            )
        return cls(path, said.get("path") or None, None if first == ":" else first)
