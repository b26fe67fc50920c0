"""Benchmark tables as Markdown: ``python -m tests.benchmarks [NAME ...] [--rounds N]``."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from subprocess import PIPE

from streamer.run.placement import MEMORY
from tests.benchmarks.loops import THREADS
from tests.benchmarks.measure import machine, markdown

TABLES = (
    "topology",
    "finder",
    "frames",
    "device",
    "positions",
    "tracks",
    "latency",
    "memory",
    "security",
    "delivery",
    "dashboard",
    "drawing",
    "sources",
    "thresholds",
    "long_runs",
)
"""Modules, each of which answers a question: `tables` yields tables, `main` prints them."""


def texts_of(name: str, n_rounds: int | None) -> Iterator[str]:
    """Yield what a module measures, as Markdown."""
    module = importlib.import_module(f"tests.benchmarks.{name}")
    if hasattr(module, "tables"):
        yield from map(markdown, module.tables(n_rounds))
        return
    os.environ["COLUMNS"] = "160"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        module.main()
    lines = (line.rstrip() for line in said.getvalue().strip().splitlines())
    yield "\n".join(["```text", *lines, "```"])


def filled(page: str, blocks: dict[str, str]) -> str:
    """Return a page with the text between the marks of each block replaced.

    Raises
    ------
    SystemExit
        The page has no such block.
    """
    for name, text in blocks.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        whole = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if not whole.search(page):
            raise SystemExit(f"the page has no place for {name}: {begin} ... {end}")
        page = whole.sub(lambda _, new=f"{begin}\n{text}\n{end}": new, page)
    return page


def main(words: Iterable[str] | None = None) -> None:
    """Print the tables that are asked for, and write them to a page."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TABLES)}")
    parser.add_argument("--rounds", type=int, help="in place of each table's own number")
    parser.add_argument("--write", type=Path, metavar="PAGE.md", help="renew its tables too")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(None if words is None else list(words))
    if unknown := set(asked.names) - set(TABLES):
        parser.error(
            f"no tables called {', '.join(sorted(unknown))}: there are {', '.join(TABLES)}"
        )
    if asked.here:
        for text in texts_of(asked.names[0], asked.rounds):
            print(f"{text}\n", flush=True)
        return
    blocks = {"machine": machine()}
    print(f"{blocks['machine']}\n", flush=True)
    for name in asked.names or TABLES:
        began = time.monotonic()
        blocks[name] = f"\n{measured(name, asked.rounds)}\n"
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        if asked.write is not None:  # after each: what was measured is not lost with what fails
            asked.write.write_text(filled(asked.write.read_text(), blocks))


def measured(name: str, n_rounds: int | None) -> str:
    """Print what a process of its own measures, with the environment of a node, and return it."""
    words = [sys.executable, "-m", "tests.benchmarks", name, "--here"]
    words += [] if n_rounds is None else ["--rounds", str(n_rounds)]
    lines, environment = [], {**os.environ, **MEMORY, **THREADS}
    with subprocess.Popen(words, env=environment, stdout=PIPE, text=True) as process:
        for line in process.stdout or ():
            lines.append(line)
            print(line, end="", flush=True)
    if process.returncode:
        lines.append(f"The rest of {name} could not be measured.\n")
        print(lines[-1], flush=True)
    return "".join(lines).strip()


if __name__ == "__main__":
    main()
