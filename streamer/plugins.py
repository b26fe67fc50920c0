"""What others can add to: plugins found by name, ours in a table, theirs by entry points."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from streamer.errors import UserError, did_you_mean, misfit

__all__ = ["Plugin", "Plugins"]


class Plugin(BaseModel):
    """Makes what a name in the configuration stands for; its fields are that name's parameters.

    The class of each kind says what to write. The module of a plugin is imported by several
    processes, by some only to see what the plugin is like: what takes long to import belongs into
    the method that needs it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


P = TypeVar("P", bound=Plugin)


class Plugins(Generic[P]):
    """All plugins of one kind.

    Other packages offer theirs as entry points of the group ``braggstream.KIND``. Nobody looks for
    them as long as a name is one of ours, which therefore nobody else can take.

    Parameters
    ----------
    noun
        What the user knows one as, such as ``finder``.
    key
        Where in the configuration parameters stand, such as ``detect.finders``; its last word is
        the kind.
    base
        The class of the kind, which every plugin derives from.
    own
        Ours, by name.
    """

    def __init__(self, noun: str, key: str, base: type[P], own: Mapping[str, type[P]]) -> None:
        self.key = key
        self.own = own
        self._noun = noun
        self._base = base
        self._group = f"braggstream.{key.rpartition('.')[2]}"

    def __contains__(self, name: str) -> bool:
        """Tell whether there is a plugin of that name."""
        return name in self.own or name in self._offered

    @property
    def names(self) -> list[str]:
        """Ours, then those of others."""
        return [*self.own, *sorted(self._offered.keys() - self.own.keys())]

    def configure(self, name: str, parameters: Mapping[str, Mapping[str, Any]]) -> P:
        """Return the plugin of that name with its parameters.

        Parameters
        ----------
        parameters
            Of any number of plugins by their names, as the configuration has them. All are
            checked: a mistake in what is not used today is a mistake tomorrow.

        Raises
        ------
        UserError
            There is no such plugin, it cannot be imported, or parameters do not fit.
        """
        self.check(parameters)
        return self._made(name, parameters.get(name, {}))

    def check(self, parameters: Mapping[str, Mapping[str, Any]]) -> None:
        """Check parameters without choosing a plugin; see `configure`."""
        for name, values in parameters.items():
            self._made(name, values)

    @property
    def _offered(self) -> dict[str, list[EntryPoint]]:
        return _offered(self._group, tuple(sys.path))

    def _made(self, name: str, values: Mapping[str, Any]) -> P:
        plugin = self.own.get(name) or self._imported(name)
        try:
            return plugin.model_validate(dict(values))
        except ValidationError as error:
            prefix = f"{self.key}.{name}."
            known = [prefix + field for field in plugin.model_fields]
            raise UserError(misfit(error, known, prefix)) from None

    def _imported(self, name: str) -> type[P]:
        offered = self._offered.get(name, [])
        if not offered:
            known = f"known are {', '.join(self.names)}" if self.names else "none is installed"
            hint = did_you_mean(name, self.names) or ";"
            raise UserError(f"unknown {self._noun} {name!r}{hint} {known}")
        if len(offered) > 1:
            packages = " and ".join(map(_package, offered))
            raise UserError(f"{packages} both have a {self._noun} {name!r}: uninstall one of them")
        (entry,) = offered
        where = f"{self._noun} {name!r} ({entry.value} of {_package(entry)})"
        try:
            plugin = entry.load()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise UserError(f"{where} cannot be imported: {reason}") from error
        if not (isinstance(plugin, type) and issubclass(plugin, self._base)):
            raise UserError(f"{where} must be a subclass of {self._base.__name__}")
        return plugin


@cache
def _offered(group: str, _: tuple[str, ...]) -> dict[str, list[EntryPoint]]:
    """Return what packages offer by name; looking takes long, so once for each search path."""
    offered: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=group):
        offered.setdefault(entry.name, []).append(entry)
    return offered


def _package(entry: EntryPoint) -> str:
    return "an unnamed package" if entry.dist is None else entry.dist.name
