"""Which columns of a table are its times, and how these are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from streamer.cell.dates import Ambiguous
from streamer.cell.layout import Layout, cells_of
from streamer.cell.numbers import number
from streamer.cell.times import Elapsed, TimeForm, absolute, duration, goes_back
from streamer.cell.zone import Zone
from streamer.config import CellConfig
from streamer.errors import UserError

__all__ = ["Columns", "Numbers", "find_times"]

_MOST_ROWS = 50_000
Numbers = Mapping[int, Callable[[str], float]]
"""Reads the numbers of a column."""


class Columns:
    """The texts of some of a table's rows, by column."""

    def __init__(self, lines: Sequence[str], layout: Layout) -> None:
        self._rows = []
        for line in lines[:: 1 + len(lines) // _MOST_ROWS]:
            try:
                cells = cells_of(line, layout.separator)
            except ValueError:
                continue
            if len(cells) > 1:
                self._rows.append(cells)
        self._cache: dict[int, list[str]] = {}

    def __getitem__(self, place: int) -> list[str]:
        if place not in self._cache:
            self._cache[place] = [row[place] if place < len(row) else "" for row in self._rows]
        return self._cache[place]


def find_times(
    columns: Columns,
    layout: Layout,
    config: CellConfig,
    numbers: Numbers,
    path: object,
) -> tuple[tuple[int, ...], TimeForm]:
    """Return the columns of the times and how they are written.

    Raises
    ------
    UserError
        They leave open what a user has to say.
    """
    usual = "mdy" if layout.is_biologic else None
    zone = Zone(config.timezone)

    def moments(texts: Sequence[str], place: int) -> TimeForm | None:
        name = layout.names[place]
        of_name = Zone(name.zone) if name.zone and config.timezone is None else zone
        unit = layout.units.get(place) or name.unit
        try:
            return absolute(
                texts,
                numbers[place],
                of_name,
                unit_s=layout.factor("time", place) if unit else None,
                is_moment=place not in layout.elapsed,
                wanted=config.date_form,
                usual=usual,
            )
        except Ambiguous as error:
            raise UserError(f"the dates in {path}, {error}") from None

    for place in layout.moments:
        if (form := moments(columns[place], place)) is not None:
            return (place,), form
    for place, clock in _pairs(columns, layout):
        joined = [f"{a} {b}" for a, b in zip(columns[place], columns[clock], strict=True)]
        form = moments(joined, place)
        if form is not None and _goes_on(joined, form):
            return (place, clock), form
    return _elapsed(columns, layout, config, numbers, path)


def _elapsed(
    columns: Columns,
    layout: Layout,
    config: CellConfig,
    numbers: Numbers,
    path: object,
) -> tuple[tuple[int, ...], TimeForm]:
    """Return the column of times since a start."""
    again = ""
    for place in layout.elapsed:
        unit_s, parse = layout.factor("time", place), numbers[place]
        texts = [text for text in columns[place] if text]
        n_fitting = sum(_fits(text, parse, unit_s) for text in texts)
        if not texts or 2 * n_fitting < len(texts):
            continue
        if goes_back(texts, parse, unit_s):
            again = layout.names[place].text
            continue
        start_ns, where = _start(layout, config, path)
        return (place,), Elapsed(parse, unit_s, start_ns, where, texts[0])
    if again:
        raise UserError(
            f"the times in the column {again} of {path} start anew, as those of each step do:"
            " export the date or the total time, and name its column in cell.columns.time"
        )
    names = ", ".join(layout.names[place].text for place in layout.moments)
    sample = next((text for place in layout.moments for text in columns[place] if text), "nothing")
    raise UserError(
        f"the times in {path} cannot be read (column {names}, such as {sample[:40]}): export them"
        " as dates with a time of day, Unix seconds, or seconds"
    )


def _start(layout: Layout, config: CellConfig, path: object) -> tuple[int, str]:
    """Return when the measurement began, and who says so."""
    zone = Zone(config.timezone)
    try:
        if config.start is not None:
            return zone.ns(config.start), "as cell.start says"
        if layout.start is not None:
            form = absolute(
                [layout.start],
                number,
                zone,
                unit_s=None,
                is_moment=True,
                wanted=config.date_form,
                usual="mdy" if layout.is_biologic else None,
            )
            if form is not None:
                zoned = f", time zone {zone.words}"
                start_ns = form.ns(layout.start)
                return start_ns, f"as the file says ({layout.start}, {form.words}{zoned})"
    except Ambiguous as error:
        raise UserError(f"the date at which the measurement in {path} began, {error}") from None
    except ValueError as error:
        raise UserError(f"when the measurement in {path} began cannot be: {error}") from None
    raise UserError(
        f"the times in {path} count from the start of the measurement: set cell.start"
        " to when that was, such as 2026-11-22T09:30:00+01:00"
    )


def _fits(text: str, parse: Callable[[str], float], unit_s: float) -> bool:
    try:
        duration(text, parse, unit_s)
    except ValueError:
        return False
    return True


def _pairs(columns: Columns, layout: Layout) -> Iterator[tuple[int, int]]:
    """Return columns that may hold the days and the times of day."""
    for place in layout.moments:
        if place in layout.elapsed:
            continue
        for clock in layout.elapsed:
            texts = [text for text in columns[clock] if text]
            if texts and 2 * sum(":" in text for text in texts) > len(texts):
                yield place, clock


def _goes_on(texts: Sequence[str], form: TimeForm) -> bool:
    moments = []
    for text in texts:
        try:
            moments.append(form.ns(text))
        except ValueError:
            continue
    return all(a <= b for a, b in pairwise(moments))
