"""Letting somebody read what runs publish."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from streamer.transport.readers import make_reader_key

__all__ = ["admit_reader"]


def admit_reader(folder: Path, name: str, console: Console) -> None:
    """Make a key for a reader and say how it is used.

    Raises
    ------
    UserError
        See `make_reader_key`.
    """
    key = make_reader_key(folder, name)
    for line in (
        f"key for {name}: {key} (hand it over in private; nobody else needs it)",
        f"publish with: --set publish.keys={folder}",
        f"read with: launch.py attach braggstream://HOST:PORT --set source.key={key.name}, or"
        f" examples/peaks_feed.py tcp://HOST:PORT {key.name}",
        f"shut {name} out with: rm {folder / 'readers' / f'{name}.pub'}",
    ):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
