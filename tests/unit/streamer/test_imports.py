from __future__ import annotations

import importlib
import sys

import pytest

from streamer.imports import hidden


def test_a_hidden_module_is_found_by_nobody_meanwhile(monkeypatch):
    monkeypatch.delitem(sys.modules, "this", raising=False)
    monkeypatch.delitem(sys.modules, "antigravity", raising=False)
    with hidden("antigravity"), pytest.raises(ModuleNotFoundError):
        importlib.import_module("antigravity")
    assert importlib.util.find_spec("antigravity") is not None


def test_a_module_that_is_there_already_stays():
    with hidden("importlib"):
        assert importlib.import_module("importlib") is importlib
