"""What a comparison of methods found, as tables for the terminal and as plain numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from rich import box
from rich.table import Table

from workers.compare.agreement import PERCENTILES, SIGMAS, Agreement
from workers.compare.evaluation import Figures
from workers.compare.halves import HalvesFindings
from workers.detect.survey import Pair

__all__ = [
    "CaseFindings",
    "PairFindings",
    "agreement_table",
    "case_tables",
    "halves_table",
    "numbers",
]

_UNITS = dict.fromkeys(
    ("rmse", "bound", "row_bias", "col_bias", *(f"p{q}" for q in PERCENTILES)), "px"
)
_QUANTILES = tuple(f"p{q}" for q in PERCENTILES)
_UNITS |= {"outliers": "share", "poor": "share"}


@dataclass(frozen=True, slots=True)
class CaseFindings:
    """One method on one population of simulated peaks."""

    figures: Figures
    us_per_peak: float
    """Microseconds."""


@dataclass(frozen=True, slots=True)
class PairFindings:
    """All methods on the peaks that one pair of thresholds found."""

    pair: Pair
    n_peaks: int
    n_clean: int
    agreements: list[Agreement]
    halves: list[HalvesFindings]
    no_halves: str = ""
    """Why no peak's photons were dealt into halves; empty if they were."""


def case_tables(rows: Sequence[CaseFindings]) -> Iterator[Table]:
    """Lay out how the methods did on simulated peaks, a table for each case."""
    headings = ("/bound", *_QUANTILES, "bias", "pull", ">1 px", "poor", "µs")
    for case, members in groupby(rows, key=lambda row: row.figures.case):
        group = list(members)
        bound = group[0].figures.bound
        table = _table(f"{case}: error in px, and RMSE over its bound of {bound:.4f} px", headings)
        for row in group:
            one = row.figures
            table.add_row(
                one.method,
                f"{one.ratio:.2f}",
                *(f"{value:.3f}" for value in (one.p50, one.p75, one.p95)),
                # The larger of the two along the axes.
                f"{max(one.row_bias, one.col_bias, key=abs):+.3f}",
                _known(one.pull, ".2f"),
                f"{one.outliers:.1%}",
                _known(one.poor, ".1%"),
                _known(row.us_per_peak, ",.1f"),
            )
        yield table


def agreement_table(pairs: Sequence[PairFindings], reference: str) -> Table:
    """Lay out how far the methods are from one reference on a recording."""
    against = "the truth" if reference == "truth" else f"the {reference} fit"
    table = _table(
        f"Recording: distance from {against}, px",
        ("n", *_QUANTILES, f"<= {SIGMAS:g} sigma", ">1 px"),
    )
    for pair in pairs:
        members = [one for one in pair.agreements if one.reference == reference]
        for population, group in groupby(members, key=lambda one: one.population):
            table.add_section()
            table.add_row(f"[bold]{population}, {pair.pair}")
            for one in group:
                table.add_row(
                    f"  {one.method}",
                    f"{one.n:,}",
                    *(_known(value, ".3f") for value in one.percentiles),
                    _known(one.within, ".1%"),
                    _known(one.outliers, ".1%"),
                )
    return table


def halves_table(pairs: Sequence[PairFindings]) -> Table:
    """Lay out how far apart methods place the two halves of peaks."""
    table = _table(
        "Recording: two halves of the photons of each peak, placed apart",
        ("n", "pull", "<= 1.96 sigma", ">5 sigma"),
    )
    for pair in pairs:
        for population, group in groupby(pair.halves, key=lambda one: one.population):
            table.add_section()
            table.add_row(f"[bold]{population}, {pair.pair}")
            for one in group:
                shares = (_known(one.within, ".1%"), _known(one.beyond, ".2%"))
                table.add_row(f"  {one.method}", f"{one.n:,}", _known(one.pull, ".3f"), *shares)
    return table


def numbers(cases: Sequence[CaseFindings], pairs: Sequence[PairFindings]) -> dict[str, Any]:
    """Return everything as plain JSON types, with units in the names; what is unknown is None."""
    return {
        "simulated": [
            {
                **{_with_unit(name): _plain(value) for name, value in asdict(row.figures).items()},
                "rmse_over_bound": _plain(row.figures.ratio),
                "time_us_per_peak": _plain(row.us_per_peak),
            }
            for row in cases
        ],
        "recorded": [
            {
                "minval_counts": one.pair.minval,
                "minscore_counts": one.pair.minscore,
                "n_peaks": one.n_peaks,
                "n_clean_peaks": one.n_clean,
                "agreements": [_agreement(each) for each in one.agreements],
                "halves": [
                    {name: _plain(value) for name, value in asdict(each).items()}
                    for each in one.halves
                ],
                **({"no_halves": one.no_halves} if one.no_halves else {}),
            }
            for one in pairs
        ],
    }


def _table(title: str, headings: Sequence[str]) -> Table:
    """Return a table whose first column says what a row is about; the others are numbers."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("", min_width=11, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", min_width=5, no_wrap=True)
    return table


def _known(value: float, how: str) -> str:
    return format(value, how) if math.isfinite(value) else "-"


def _agreement(one: Agreement) -> dict[str, Any]:
    names = [f"p{q}_px" for q in PERCENTILES]
    of_frame = zip(names, one.percentiles_of_frame.T.tolist(), strict=True)
    return {
        "method": one.method,
        "reference": one.reference,
        "population": one.population,
        "n": one.n,
        **{name: _plain(value) for name, value in zip(names, one.percentiles, strict=True)},
        "outliers_share": _plain(one.outliers),
        f"within_{SIGMAS:g}_combined_sigma_share": _plain(one.within),
        "by_frame": {
            "frame": one.frame.tolist(),
            "n": one.n_of_frame.tolist(),
            **dict(of_frame),
        },
    }


def _with_unit(name: str) -> str:
    return f"{name}_{_UNITS[name]}" if name in _UNITS else name


def _plain(value: Any) -> Any:
    if isinstance(value, str | int):
        return value
    return float(value) if math.isfinite(value) else None
