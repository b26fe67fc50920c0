"""Packages of others: installed into a folder that only needs to be on the search path."""

from __future__ import annotations

from pathlib import Path


def install(folder: Path, package: str, code: str, **entries: str) -> Path:
    """Write a package of one module, as an installer would.

    Parameters
    ----------
    entries
        For each kind of plugin, ``name = Class`` lines.
    """
    folder.mkdir(exist_ok=True)
    (folder / f"{package}.py").write_text(code, encoding="utf-8")
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = []
    for kind, named in entries.items():
        lines.append(f"[braggstream.{kind}]")
        for entry in named.splitlines():
            name, _, what = entry.partition("=")
            lines.append(f"{name.strip()} = {package}:{what.strip()}")
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder
