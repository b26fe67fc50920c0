"""A page of HTML that stands alone: headings, figures, tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from streamer.report.style import COLOURS, FAINT, INK

__all__ = ["Page"]

_DARK_LINES = (
    "#4da3e0",
    "#f0803c",
    "#2fc39a",
    "#d68fd0",
    "#e6b04a",
    "#86cdf5",
    "#b28fd6",
    "#c9a57c",
)
"""What stands for `COLOURS` on a dark page."""

_LIGHT = {"paper": "#ffffff", "ink": INK, "faint": FAINT, "soft": "#5b6975", "rule": "#dfe4e8"}
_DARK = {
    "paper": "#12171c",
    "ink": "#dde4ea",
    "faint": "#66727e",
    "soft": "#9aa7b3",
    "rule": "#2b343c",
}

_RULES = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 "Charter","Bitstream Charter","Source Serif 4",Georgia,"DejaVu Serif",serif}
main{max-width:66rem;margin:0 auto;padding:2.6rem 1.6rem 4rem}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .35rem;font-weight:600;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.6rem 0 .7rem;font-weight:600;
border-bottom:1px solid var(--rule);padding-bottom:.25rem}
.lead{color:var(--soft);margin:0 0 1.4rem;max-width:46rem}
.facts{display:flex;flex-wrap:wrap;gap:.4rem 2.4rem;margin:1.2rem 0 0;padding:0;list-style:none}
.facts b{display:block;font-size:1.45rem;font-weight:600;line-height:1.25;
font-variant-numeric:tabular-nums lining-nums}
.facts span,table,figcaption,.note{font-family:system-ui,"Segoe UI","Helvetica Neue","DejaVu Sans",
sans-serif}
.facts span{font-size:.78rem;color:var(--soft)}
figure{margin:1.4rem 0 2rem;break-inside:avoid}
figure svg{display:block;width:100%;height:auto;max-width:58rem;margin:0 auto}
figcaption{font-size:.82rem;line-height:1.5;color:var(--soft);max-width:52rem;margin:.7rem auto 0}
figcaption b{color:var(--ink)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.8rem;line-height:1.4;width:100%;
font-variant-numeric:tabular-nums lining-nums}
th{font-weight:600;text-align:right;padding:.32rem .6rem;border-bottom:1.5px solid var(--ink);
vertical-align:bottom}
td{text-align:right;padding:.26rem .6rem;border-bottom:1px solid var(--rule);vertical-align:top}
th:first-child,td:first-child,.words th,.words td{text-align:left}
th small,td small{font-weight:400;color:var(--soft);font-size:.92em}
.scroll td{white-space:nowrap}
.words td:first-child{color:var(--soft);white-space:nowrap;width:13rem}
.words td{overflow-wrap:anywhere}
.bad{color:#c2410c}
.swatch{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.45em}
.note{font-size:.82rem;color:var(--soft);max-width:52rem}
@media print{main{max-width:none;padding:0}body{font-size:10.5pt}h2{break-after:avoid}
table,tr{break-inside:avoid}.scroll{overflow:visible}table{font-size:7pt}th,td{padding:.2rem .25rem}
@page{margin:14mm}}
"""


@dataclass(slots=True)
class Page:
    """Gathers parts of a page in their order; all texts are plain unless said otherwise."""

    title: str
    lead: str
    _parts: list[str] = field(default_factory=list)
    _figures: int = 0
    _tables: int = 0

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def note(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f'<p class="note">{escape(text)}</p>')

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """Add values and what they are, in large type."""
        items = "".join(
            f"<li><b>{escape(value)}</b><span>{escape(what)}</span></li>" for value, what in facts
        )
        self._parts.append(f'<ul class="facts">{items}</ul>')

    def figure(self, svg: str, caption: str) -> None:
        """Add a figure, numbered; its first sentence is its title."""
        self._figures += 1
        title, stop, rest = caption.partition(". ")
        words = f"<b>Figure {self._figures}. {escape(title + stop)}</b>{escape(rest)}"
        label = f'<svg role="img" aria-label="{escape(title, quote=True)}"'
        svg = svg.replace("<svg", label, 1)
        self._parts.append(f"<figure>{svg}<figcaption>{words}</figcaption></figure>")

    def table(self, heads: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> None:
        """Add a table of numbers.

        Parameters
        ----------
        heads
            Name and unit of each column.
        rows
            Cells as HTML.
        """
        head = "".join(
            f"<th>{escape(name)}{f'<br><small>{escape(unit)}</small>' if unit else ''}</th>"
            for name, unit in heads
        )
        body = "".join(
            "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows
        )
        self._parts.append(
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )

    def words(self, rows: Sequence[tuple[str, str]]) -> None:
        """Add a table of names and what they are."""
        body = "".join(f"<tr><td>{escape(a)}</td><td>{escape(b)}</td></tr>" for a, b in rows)
        self._parts.append(f'<table class="words"><tbody>{body}</tbody></table>')

    def html(self) -> str:
        """Return the page."""
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            '<meta name="color-scheme" content="light dark">'
            f"<title>{escape(self.title)}</title><style>{_style()}</style></head>\n"
            f"<body><main><header><h1>{escape(self.title)}</h1>"
            f'<p class="lead">{escape(self.lead)}</p></header>\n'
            + "\n".join(self._parts)
            + "\n</main></body></html>\n"
        )


def _style() -> str:
    light = _properties(_LIGHT, COLOURS)
    dark = _properties(_DARK, _DARK_LINES)
    return (
        f":root{{color-scheme:light dark;{light}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}.bad{{color:#fb923c}}}}"
        + _RULES
    )


def _properties(names: dict[str, str], lines: Sequence[str]) -> str:
    listed = [*names.items(), *((f"line-{i}", line) for i, line in enumerate(lines))]
    return ";".join(f"--{name}:{colour}" for name, colour in listed)
