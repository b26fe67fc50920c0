"""The tables and the example for those who add something name what is there."""

from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint
from pkgutil import resolve_name

import numpy as np
import pytest

from streamer.config import load_config
from streamer.plugins import Plugin
from streamer.sources import PROTOCOLS, READERS
from tests.conftest import ROOT
from tests.unit.plugins import install
from workers.detect.choice import FINDERS
from workers.place.methods import METHODS, make_method, patch_size_of

PAGE = (ROOT / "docs" / "developing.md").read_text(encoding="utf-8")


def rows(first: str) -> list[list[str]]:
    """Return the cells of each row of the table whose head begins so, without the head."""
    lines = PAGE[PAGE.index(f"| {first} |") :].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("row", rows("to add"), ids=lambda row: row[0])
def test_what_is_to_be_written_and_registered_is_there(row):
    for name in re.findall(r"`((?:streamer|workers)\.[\w.]+)`", row[1]):
        resolve_name(name)
    for part in row[2].split(";"):
        where = re.search(r"^(.*) in `([\w/.]+)`", part)
        if where is None:
            continue
        text = (ROOT / where[2]).read_text(encoding="utf-8")
        for name in re.findall(r"`([\w-]+)`", where[1]):
            assert name in text, f"{name} in {where[2]}"


def test_kinds_of_plugins_are_as_the_table_says():
    table = {group.strip("`"): (base, key) for group, base, _, _, key in rows("group")}
    known = {
        "protocols": PROTOCOLS, "readers": READERS, "finders": FINDERS, "methods": METHODS,
    }  # fmt: skip
    assert table.keys() == {f"braggstream.{kind}" for kind in known}
    for kind, plugins in known.items():
        base, key = (text.strip("`") for text in table[f"braggstream.{kind}"])
        assert key == f"{plugins.key}.NAME.KEY"
        kind_of = resolve_name(base)
        assert issubclass(kind_of, Plugin)
        assert all(issubclass(own, kind_of) for own in plugins.own.values())
        load_config(None, [f"{plugins.key}.name.key=1"])


def test_the_example_works_as_it_is_written(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    name, value = re.findall(r'^(\w+) = "(.*)"$', PAGE, re.MULTILINE)[0]
    entry = EntryPoint(name, value, "braggstream.methods")
    install(tmp_path, entry.module, code, methods=f"{name} = {entry.attr}")
    monkeypatch.syspath_prepend(tmp_path)
    (words,) = re.findall(r"`(--set positions\.method=.*?)`", PAGE)
    positions = load_config(None, words.replace("--set ", "").split()).positions
    assert patch_size_of(positions) == 9
    patches = np.zeros((2, 9, 9), np.float32)
    patches[:, 4, 5] = 100
    placed = make_method(positions, 1).place(patches, np.ones((2, 9, 9), np.bool_))
    assert (placed.row.tolist(), placed.col.tolist()) == ([0, 0], [1, 1])
    sys.modules.pop(entry.module)
