"""The reference pages of the documentation: configuration, metrics, tables, made from the code."""

from __future__ import annotations

import argparse
import ast
import difflib
import inspect
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any, Literal, Union, get_args, get_origin

import pyarrow as pa
import yaml
from prometheus_client import CollectorRegistry, Metric
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from streamer.cell.gauges import CellGauges
from streamer.config import Config
from streamer.plugins import Plugins
from streamer.results.folder import RunFolder
from streamer.results.schema import CELL, TABLES
from streamer.transport.metrics import INCIDENTS, RANKS, Metrics
from workers.detect.choice import FINDERS
from workers.place.methods import METHODS

__all__ = [
    "ON_CUDA",
    "PAGES",
    "configuration_page",
    "explanations",
    "main",
    "metrics_page",
    "tables_page",
]

_MADE = "<!-- Made by `make docs` from {module}: change it there. -->\n"

_CONFIGURATION = """\
# Configuration

Every command that runs something takes `--config FILE.yaml` and any number of
`--set key.path=value`; what is set on the command line wins. The resolved configuration of a run
lies in its folder as `config.yaml`, which `--config` reads back. In a file, a key stands in its
section:

```yaml
detect:
  minval: 20
  mask: bad_pixels.npy
overload: spool
```

The same on the command line:

```
--set detect.minval=20 --set detect.mask=bad_pixels.npy --set overload=spool
```

A value is written as in YAML: `null` is none, `true` and `false` are switches, a mapping is
`'{time: t/s}'` in quotes. A key that does not exist, or a value that does not fit, ends the program
with exit status 2 and a line that names it. Paths are relative to where the program is started. An
empty default means none; what happens then is said under *meaning*.

What other packages add is chosen by its name as ours is, and its own parameters stand under that
name: `--set detect.finder=NAME --set detect.finders.NAME.KEY=VALUE`. They are checked as all others
are. [Working on braggstream](../developing.md#from-a-package-of-your-own) says how to write one.
"""

_METRICS = """\
# Metrics

Each node of a run serves these to Prometheus at `http://HOST:PORT/metrics`; `metrics.host` and
`metrics.base_port` choose where ([configuration](configuration.md#metrics)). The ports of a run
that goes on are in `prometheus_targets.json` in its folder, with the labels `run`, `node` and
`role` (`ingest`, `detector`, `gpu`, `sink`) that a Prometheus adds to each metric. A node leaves at
0 what its role has no use for. [Dashboards and monitoring](../howto-monitoring.md) says how to look
at them.

`braggstream_frames_total` counts by `state`: the ingest node what it `received`; detector and GPU
workers what they have `done`; the sink how each frame ended (`done`, `failed`, `missing`, `shed`),
which is what the run folder says, and each `duplicate` that it dropped. Stages are `read` (ingest),
`decode` and `detect` (detector workers), `place`, `refit` and `check` (GPU workers) and `commit`
(sink).

A histogram gives `_bucket`, `_sum` and `_count`; the bounds of its buckets stand under *meaning*.
Beside these each node serves `process_...`: memory, processor time, start, open files.
"""

_TABLES = """\
# Tables

The Parquet tables of a run folder, with their columns in this order.
[Reading runs](../reading-runs.md) says how to read them, also while the run goes on. Parts appear
whole, and are merged into larger files; `tracks.parquet` and `cell.parquet` are replaced every few
seconds. NaN stands for what is not known, as spacings without the detector's place.
"""

ON_CUDA = {
    "memory_bytes": "Memory this worker has allocated on the device",
    "device_memory_used_bytes": "Memory in use on the device, by whomever",
    "device_memory_size_bytes": "Memory of the device",
    "utilisation_ratio": "Share of the time in which the device was busy; with `nvidia-ml-py`",
}
"""What GPU workers add; the module that knows is not importable from here, a test compares."""


_NAMES: dict[str, Plugins[Any]] = {"detect.finder": FINDERS, "positions.method": METHODS}
"""Of the keys that name a plugin, where it is looked up."""


def configuration_page() -> str:
    """Return the page that explains every configuration key."""
    lines = [_MADE.format(module="streamer/config/"), _CONFIGURATION]
    loose = {}
    for name, field in _described(Config).items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            lines += [f"## {name}\n", f"{inspect.getdoc(section)}\n"]
            lines += _table(_keys(_described(section), f"{name}."))
            for key, plugins in _NAMES.items():
                if key.startswith(f"{name}."):
                    lines += _parameters(plugins)
        else:
            loose[name] = field
    lines += ["## Outside any section\n", *_table(_keys(loose, ""))]
    return "\n".join(lines).rstrip() + "\n"


def explanations(fields: Mapping[str, FieldInfo]) -> dict[str, str]:
    """Return what is said of each field; a numbered one without words shares its family's.

    Raises
    ------
    ValueError
        Nothing is said of one.
    """
    said: dict[str, str] = {}
    for name, field in fields.items():
        family = name.rstrip("0123456789")
        inherited = [said[key] for key in said if family != name and key.startswith(family)]
        words = field.description or (inherited[0] if inherited else "")
        if not words:
            raise ValueError(f"the configuration key {name} has no explanation")
        said[name] = " ".join(words.split())
    return said


def _described(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """Return the fields of a model with the words below each of them in its source.

    pydantic can do so whenever the class is made, which costs every process of a run.
    """
    for owner in model.__mro__:
        own = vars(owner).get("__annotations__", {}).keys() & model.model_fields.keys()
        if not own:
            continue
        (made,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        body = made.body if isinstance(made, ast.ClassDef) else []
        for field, below in pairwise(body):
            if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
                continue
            match below:
                case ast.Expr(ast.Constant(str() as words)):
                    known = model.model_fields[field.target.id]
                    known.description = known.description or inspect.cleandoc(words)
    return model.model_fields


def _keys(fields: Mapping[str, FieldInfo], prefix: str) -> Iterator[tuple[str, ...]]:
    yield "key", "value", "default", "meaning"
    said = explanations(fields)
    for name, field in fields.items():
        within = field.annotation
        if isinstance(within, type) and issubclass(within, BaseModel):
            _, *rows = _keys(_described(within), f"{prefix}{name}.")
            yield from rows
            continue
        default = field.get_default(call_default_factory=True)
        plugins = _NAMES.get(f"{prefix}{name}")
        yield (
            f"`{prefix}{name}`",
            _value(field) if plugins is None else _names(plugins),
            "" if default is None or default == {} else f"`{_yaml(default)}`",
            said[name],
        )


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True).partition("\n")[0]


def _parameters(plugins: Plugins[Any]) -> Iterator[str]:
    """Yield the lines on what ours take under their own names."""
    for name, plugin in plugins.own.items():
        if plugin.model_fields:
            yield f"### {plugins.key}.{name}\n"
            yield from _table(_keys(_described(plugin), f"{plugins.key}.{name}."))


def _names(plugins: Plugins[Any]) -> str:
    return ", ".join(f"`{name}`" for name in plugins.own) + ", another package's"


def _value(field: FieldInfo) -> str:
    """Say in words what a key takes."""
    kind: Any = field.annotation
    if get_origin(kind) is Union:
        parts = (FieldInfo.from_annotation(part) for part in get_args(kind) if part is not NoneType)
        return ", or ".join(map(_value, parts))
    if NoneType in get_args(kind):
        (kind,) = set(get_args(kind)) - {NoneType}
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return "mapping"
    words = {
        bool: "`true`, `false`", int: "integer", float: "number",
        str: "text", Path: "path", datetime: "time",
    }[kind]  # fmt: skip
    bounds = {name: getattr(one, name) for one in field.metadata for name in ("ge", "gt", "le")
              if hasattr(one, name)}  # fmt: skip
    if "ge" in bounds and "le" in bounds:
        return f"{words}, {bounds['ge']} to {bounds['le']}"
    if "ge" in bounds:
        return f"{words}, {bounds['ge']} or more"
    return f"{words} above {bounds['gt']}" if "gt" in bounds else words


def metrics_page() -> str:
    """Return the page that explains every metric."""
    metrics = Metrics()
    # What has labels shows them once it has been used.
    metrics.stages.expect("read")
    metrics.stages.note_latency("commit", [0])
    metrics.queues.show_workers({"detector-0": 0})
    metrics.science.show_tracks(0, [(0, 0.0, 0.0, 0.0)])
    metrics.science.show_alarms({(0, "drift"): 1})
    metrics.flow.count_incidents({})
    lines = [_MADE.format(module="streamer/transport/metrics.py"), _METRICS, "## Of every node\n"]
    lines += _table(_families(metrics.registry.collect()))
    lines.append(
        f"`track` is a number in the table of tracks, for good: whose drift was once among the "
        f"{RANKS} most significant is shown from then on, until there are too many. "
        "`reason` is one of "
        f"{', '.join(f'`{reason}`' for reason in INCIDENTS)}; "
        "[Attaching](../attaching.md#what-is-counted) says what they mean.\n"
    )
    lines += ["## Of the sink, when a cell is configured\n", *_table(_families(_cell_families()))]
    lines += ["## Of GPU workers that compute on CUDA\n"]
    lines += _table(
        [
            ("metric", "type", "labels", "meaning"),
            *((f"`braggstream_gpu_{n}`", "gauge", "`device`", what) for n, what in ON_CUDA.items()),
        ]
    )
    return "\n".join(lines).rstrip() + "\n"


def _cell_families() -> list[Metric]:
    """Return what a sink shows of a cell: it takes a reading to show any."""
    reading = {
        field.name: pa.array(["" if pa.types.is_string(field.type) else 0], field.type)
        for field in CELL
    }
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        run.write_cell(pa.table(reading))
        return list(CellGauges(CollectorRegistry(), run.path).collect())


def _families(families: Iterable[Metric]) -> Iterator[tuple[str, ...]]:
    yield "metric", "type", "labels", "meaning"
    for family in families:
        if not family.name.startswith("braggstream_"):
            continue
        labels = {label: None for sample in family.samples for label in sample.labels}
        bounds = [
            f"{float(sample.labels['le']):g}" for sample in family.samples if "le" in sample.labels
        ]
        meaning = family.documentation
        if bounds:
            meaning += f". Buckets up to {', '.join(list(dict.fromkeys(bounds))[:-1])}"
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        yield (
            f"`{family.name}{suffix}`",
            family.type,
            ", ".join(f"`{label}`" for label in labels if label != "le"),
            meaning,
        )


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table; the first row is its head."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    lines.insert(1, "|---" * (lines[0].count(" | ") + 1) + "|")
    return [*lines, ""]


def tables_page() -> str:
    """Return the page that explains every column of a run's tables."""
    lines = [_MADE.format(module="streamer/results/schema.py"), _TABLES]
    for name, table in TABLES.items():
        rows = [(f"`{one.name}`", str(one.type), one.unit, one.meaning) for one in table.columns]
        file = f"{name}/*.parquet" if name in ("frames", "peaks") else f"{name}.parquet"
        lines += [f"## {file}\n", f"One row for each {table.row}.\n"]
        lines += _table([("column", "type", "unit", "meaning"), *rows])
    return "\n".join(lines).rstrip() + "\n"


PAGES = {
    "configuration.md": configuration_page,
    "metrics.md": metrics_page,
    "tables.md": tables_page,
}
"""Name of each page and what makes it."""


def main(words: list[str] | None = None) -> int:
    """Write the pages into a folder, or say how those there differ."""
    parser = argparse.ArgumentParser(prog="python docs/make_reference.py", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write; else say what differs")
    parser.add_argument("folder", type=Path, metavar="DIR", help="such as docs/reference")
    given = parser.parse_args(words)
    status = 0
    for name, make in PAGES.items():
        path, text = given.folder / name, make()
        if given.write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            continue
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        lines = difflib.unified_diff(
            old.splitlines(), text.splitlines(), str(path), "from the code", lineterm=""
        )
        for line in lines:
            status = 1
            sys.stdout.write(line + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
