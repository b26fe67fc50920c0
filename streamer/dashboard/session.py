"""A run's page from its address to its end: beside a run, or by itself."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from streamer.config import DashboardConfig, PositionsConfig
from streamer.dashboard.fitter import Fit
from streamer.dashboard.server import serve
from streamer.dashboard.view import RunView
from streamer.run.sidecar import address_of, listen, step_back, token_of
from streamer.transport.web import allow_connections

__all__ = ["show_run"]


def show_run(
    folder: Path,
    console: Console,
    make_fit: Callable[[PositionsConfig], Fit],
    *,
    host: str | None = None,
    port: int | None = None,
    listener: int | None = None,
    parent: int | None = None,
    lasting: bool = False,
) -> None:
    """Serve the page of a run, going on or ended, until SIGTERM or Ctrl-C.

    Parameters
    ----------
    folder
        Run folder.
    console
        Told the address, except beside a run, which tells it itself.
    make_fit
        Returns what fits patches.
    host, port
        Where to serve it, the next free port if need be; None takes what the run was given.
    listener
        Number of the socket that is inherited from a run, which this stands beside.
    parent, lasting
        See `serve`.

    Raises
    ------
    UserError
        It is no run folder, or there is no such address.
    """
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    allow_connections()
    view = RunView(folder)
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
    with opened:
        fit = make_fit(view.config.positions)
        named = host or view.config.dashboard.host
        serve(view, opened, fit=fit, parent=parent, lasting=lasting, token=token, host=named)
