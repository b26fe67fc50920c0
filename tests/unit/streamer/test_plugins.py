"""What is found by name, what others add to it, and what is said when something does not fit."""

from __future__ import annotations

from itertools import count

import pytest

from streamer import plugins
from streamer.errors import UserError
from streamer.plugins import Plugin, Plugins
from tests.unit.plugins import install


class Tool(Plugin):
    """The kind."""


class Hammer(Tool):
    """One of ours, which takes nothing."""


TOOLS = Plugins("tool", "shed.tools", Tool, {"hammer": Hammer})

CODE = """
from typing import ClassVar
from tests.unit.streamer.test_plugins import Tool

class Saw(Tool):
    teeth: int = 40
    blade: str

class NoTool:
    pass
"""
ENTRIES = "saw = Saw\nbent = NoTool\nlost = Lost\nhammer = Saw"
_numbers = count()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install a package whose name no other test has used: modules stay imported."""

    def make(code=CODE, tools=ENTRIES, name=None):
        name = name or f"others{next(_numbers)}"
        monkeypatch.syspath_prepend(install(tmp_path / name, name, code, tools=tools))
        return name

    return make


def test_a_plugin_of_another_package_is_found_with_its_parameters(package):
    package()
    saw = TOOLS.configure("saw", {"saw": {"blade": "new"}})
    assert (saw.teeth, saw.blade) == (40, "new")
    assert "saw" in TOOLS
    assert "drill" not in TOOLS
    assert TOOLS.names == ["hammer", "bent", "lost", "saw"]


def test_nobody_looks_for_packages_while_the_name_is_one_of_ours(package, monkeypatch):
    package()
    monkeypatch.setattr(plugins, "entry_points", lambda **_: pytest.fail("looked"))
    assert type(TOOLS.configure("hammer", {})) is Hammer
    assert "hammer" in TOOLS


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("saww", {}, "unknown tool 'saww'; did you mean saw? known are hammer, bent, lost, saw"),
        ("zz", {}, "unknown tool 'zz'; known are hammer"),
        ("hammer", {"sw": {}}, "unknown tool 'sw'; did you mean saw?"),
        ("saw", {}, "shed.tools.saw.blade has no default: it must be given"),
        (
            "hammer",
            {"saw": {"blade": "new", "teeht": 3}},
            "unknown configuration key shed.tools.saw.teeht; did you mean shed.tools.saw.teeth?",
        ),
        (
            "hammer",
            {"hammer": {"weight": 3}},
            "unknown configuration key shed.tools.hammer.weight; known are none",
        ),
        (
            "saw",
            {"saw": {"blade": "new", "teeth": "many"}},
            "shed.tools.saw.teeth = 'many' does not fit: it should be a valid integer",
        ),
        ("bent", {}, "NoTool of others"),
        ("bent", {}, "must be a subclass of Tool"),
        ("lost", {}, "cannot be imported: AttributeError"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_is_known(package, name, parameters, message):
    package()
    with pytest.raises(UserError) as caught:
        TOOLS.configure(name, parameters)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_package_that_cannot_be_imported_says_why(package):
    name = package("raise OSError('no licence\\nat all')", "saw = Saw")
    with pytest.raises(UserError) as caught:
        TOOLS.configure("saw", {})
    assert str(caught.value) == (
        f"tool 'saw' ({name}:Saw of {name}) cannot be imported: OSError: no licence"
    )


def test_two_packages_with_one_name_are_not_chosen_between(package):
    names = sorted([package(), package()])
    with pytest.raises(UserError) as caught:
        TOOLS.configure("saw", {"saw": {"blade": "new"}})
    assert all(name in str(caught.value) for name in names)
    assert "uninstall one of them" in str(caught.value)


def test_a_kind_of_which_there_is_none():
    with pytest.raises(UserError, match="unknown rope 'hemp'; none is installed"):
        Plugins("rope", "shed.ropes", Tool, {}).configure("hemp", {})
