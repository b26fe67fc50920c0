"""A page from its address to its end: beside a run, or by itself, of a run or a folder of runs."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from streamer.config import Config, DashboardConfig, PositionsConfig
from streamer.dashboard.fitter import Fit
from streamer.dashboard.hub import Hub
from streamer.dashboard.hubs import Hubs
from streamer.dashboard.server import serve, serve_runs
from streamer.dashboard.thresholds import MakeFinding
from streamer.dashboard.view import RunView
from streamer.errors import UserError
from streamer.run.sidecar import address_of, listen, step_back, token_of
from streamer.transport.limits import allow_connections
from streamer.transport.token import CONTROL_FILE, read_token

__all__ = ["show_run"]


def show_run(
    folder: Path,
    console: Console,
    make_fit: Callable[[PositionsConfig], Fit],
    make_finding: MakeFinding,
    *,
    host: str | None = None,
    port: int | None = None,
    listener: int | None = None,
    parent: int | None = None,
    lasting: bool = False,
) -> None:
    """Serve the page of a run, going on or ended, or of many, until SIGTERM or Ctrl-C.

    Parameters
    ----------
    folder
        Run folder, or a folder of such, also of those that are still to come.
    console
        Told the address, except beside a run, which tells it itself.
    make_fit
        Returns what fits patches.
    make_finding
        Returns what finds peaks.
    host, port
        Where to serve it, the next free port if need be; None takes what the run was given.
    listener
        Number of the socket that is inherited from a run, which this stands beside.
    parent, lasting
        See `serve`.

    Raises
    ------
    UserError
        There is no such folder, or no such address.
    """
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    allow_connections()
    if listener is None and not (folder / "run.json").exists():
        _show_runs(folder, console, make_fit, make_finding, host, port)
        return
    view = RunView(folder, make_finding)
    if listener is not None:
        step_back()  # the run comes first
        opened = socket.socket(fileno=listener)
    else:
        wanted = view.config.dashboard
        default = DashboardConfig().port
        opened = listen(host or wanted.host, port or wanted.port or default)
    token = token_of(opened, view.config, folder)
    if listener is None:
        query = "" if token is None else f"?token={token}"
        where = address_of(opened) + query
        console.print(f"dashboard {where}", highlight=False, soft_wrap=True)
        if view.state.live:
            with contextlib.suppress(UserError):  # the run has none, or has just ended
                key = read_token(folder / CONTROL_FILE)
                text = f"thresholds can be changed at {where}#control={key}"
                console.print(text, highlight=False, soft_wrap=True)
    with opened:
        fit = make_fit(view.config.positions)
        named = host or view.config.dashboard.host
        serve(view, opened, fit=fit, parent=parent, lasting=lasting, token=token, host=named)


def _show_runs(
    folder: Path,
    console: Console,
    make_fit: Callable[[PositionsConfig], Fit],
    make_finding: MakeFinding,
    host: str | None,
    port: int | None,
) -> None:
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder of a run, nor of runs: there is none")
    default = DashboardConfig()
    opened = listen(host or default.host, port or default.port)
    token = token_of(opened, Config(), folder)

    def make_hub(run: Path) -> Hub:
        view = RunView(run, make_finding)
        return Hub(view, make_fit(view.config.positions), listed=True)

    hubs = Hubs(folder, make_hub)
    query = "" if token is None else f"?token={token}"
    console.print(f"dashboard {address_of(opened)}{query}", highlight=False, soft_wrap=True)
    n = len(hubs.runs.rows())
    console.print(
        f"{n:,} {'run' if n == 1 else 'runs'} in {folder}; new ones are shown as they come",
        highlight=False,
        soft_wrap=True,
    )
    with opened:
        serve_runs(hubs, opened, token=token, host=host or default.host)
