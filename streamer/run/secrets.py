"""What lets others in to a run: tokens and keys, in its folder for as long as it lasts."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from streamer.config import Config
from streamer.run.best_effort import BestEffort
from streamer.transport.readers import make_reader_key, publish_keys
from streamer.transport.token import CONTROL_FILE, TOKEN_FILE, needs_token, own_token, token_path

__all__ = ["Secrets"]


class Secrets:
    """Makes the tokens and keys that a run asks for; what is the run's own goes with it.

    Parameters
    ----------
    out
        Run folder.
    """

    def __init__(self, config: Config, out: Path, beside: BestEffort) -> None:
        self._config, self._out, self._beside = config, out, beside
        self._keys = publish_keys(config, out) if config.publish.keys is None else None

    def __enter__(self) -> Self:
        config = self._config
        self.make_token(config.metrics.host)
        self.make_token(config.dashboard.host)
        if config.dashboard.control:
            own_token(self._out / CONTROL_FILE)
        if self._keys is not None:
            make_reader_key(self._keys, "page")
        return self

    def make_token(self, host: str) -> None:
        """Make the token that page and metrics ask for, if they do on this host."""
        if needs_token(host, self._config):
            own_token(token_path(self._config, self._out))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for name in (TOKEN_FILE, CONTROL_FILE):
            forget = partial((self._out / name).unlink, missing_ok=True)
            self._beside("the token cannot be removed", forget)
        if self._keys is not None and self._keys.exists():
            self._beside("the keys cannot be removed", partial(shutil.rmtree, self._keys))
