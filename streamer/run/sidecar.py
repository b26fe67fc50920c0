"""The dashboard beside a run: its address from the start, its process from the first visitor on."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from streamer.config import Config
from streamer.errors import UserError
from streamer.transport.token import needs_token, own_token, token_path

__all__ = ["address_of", "listen", "sidecar", "step_back", "token_of"]

logger = logging.getLogger(__name__)

_TRIES = 100
_LIVES = 5
_POLL_S = 0.1
_RETRY_S = 10.0
_NICE = 10
_PATIENCE_S = 5.0


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket on a port, or on the next that is free.

    Raises
    ------
    UserError
        The host is none of this machine, or all ports are in use.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except (OSError, UnicodeError):
        raise UserError(f"dashboard.host = {host!r} is no address of this machine") from None
    for candidate in range(port, min(port + _TRIES, 65536)):
        try:
            return socket.create_server((host, candidate), family=family)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                why = error.strerror
                raise UserError(f"dashboard.host = {host!r} cannot be used: {why}") from None
    raise UserError(
        f"no port for the dashboard from {port} on: choose another with --dashboard, 0 for none"
    )


def address_of(listener: socket.socket) -> str:
    """Return what to give to a browser."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def token_of(listener: socket.socket, config: Config, folder: Path) -> str | None:
    """Return the token that a page of a run asks for; None where only this machine reaches it.

    Raises
    ------
    UserError
        There is none, and none can be made.
    """
    host = listener.getsockname()[0]
    return own_token(token_path(config, folder)) if needs_token(host, config) else None


def step_back() -> None:
    """Let all else on this machine come first, as far as this process can say so."""
    os.nice(_NICE)
    # Where Linux shares time among sessions, niceness counts within one alone.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(_NICE), encoding="ascii")


@contextmanager
def sidecar(
    listener: socket.socket,
    folder: Path,
    command: Callable[[int], list[str]],
    announce: Callable[[str], None],
    *,
    lasting: bool = False,
) -> Iterator[None]:
    """Have a dashboard while a run goes on.

    Its process is started when somebody first asks for the page, and again when it died, a few
    times: nobody looking costs the run nothing.

    Parameters
    ----------
    listener
        From `listen`; the process inherits it.
    folder
        Run folder, which need not be there yet.
    command
        Returns the command line of the process, given the number of the listener.
    announce
        Told the address when the run has begun.
    lasting
        Its process does not end by itself with the run, but when the context is left.
    """
    over = threading.Event()
    thread = threading.Thread(
        target=_look_after,
        args=(listener, folder, command, announce, over, lasting),
        name="dashboard",
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        listener.close()


def _look_after(
    listener: socket.socket,
    folder: Path,
    command: Callable[[int], list[str]],
    announce: Callable[[str], None],
    over: threading.Event,
    lasting: bool,
) -> None:
    while not (folder / "run.json").exists():
        if over.wait(_POLL_S):
            return
    # Whoever reads may be gone: OSError, or what rich makes of it.
    with contextlib.suppress(OSError, SystemExit):
        announce(address_of(listener))
    lives = _LIVES
    while lives:
        while not select.select([listener], [], [], _POLL_S)[0]:
            if over.is_set():
                return
        try:
            process = _start(listener, folder, command)
        except OSError as error:
            logger.warning("no dashboard for now: %s", error)
            if over.wait(_RETRY_S):
                return
            continue
        lives -= 1
        while process.poll() is None and not over.wait(_POLL_S):
            pass
        if over.is_set():
            _end(process, at_once=lasting)
            return
        logger.warning(
            "the dashboard died (exit status %d)%s: see %s",
            process.returncode,
            "" if lives else " too often and is not started again",
            folder / "logs" / "dashboard.log",
        )
    over.wait()


def _start(
    listener: socket.socket, folder: Path, command: Callable[[int], list[str]]
) -> subprocess.Popen[bytes]:
    with (folder / "logs" / "dashboard.log").open("ab") as log:
        # A session of its own: Ctrl-C is for the run, with which the dashboard ends.
        return subprocess.Popen(
            command(listener.fileno()),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[listener.fileno()],
            env={**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
        )


def _end(process: subprocess.Popen[bytes], *, at_once: bool) -> None:
    """End it, but first let it tell the pages how the run ended, if it ends with that."""
    for number in ([] if at_once else [None]) + [signal.SIGTERM, signal.SIGKILL]:
        if number is not None:
            process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
            return
