"""The REST interface of DECTRIS detectors, as far as a client of the stream wants to know it."""

from __future__ import annotations

import json
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from streamer.errors import UserError

__all__ = ["DectrisApi"]

logger = logging.getLogger(__name__)

_TIMEOUT_S = 2.0
_MOST_BYTES = 1 << 16
_MOST_IMAGES = 1 << 53
_VERSIONS = ("1.8.0", "1.6.0")


class DectrisApi:
    """Asks a detector how its stream is doing.

    Parameters
    ----------
    url
        Such as ``http://192.168.0.10``.

    Raises
    ------
    UserError
        It is not such an address.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(f"api={url} is not an address such as http://192.168.0.10")
        self._url = url.rstrip("/")
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="detector-api")
        self._answer: Future[None] | None = None

    def check(self) -> None:
        """Check that the detector streams.

        Raises
        ------
        UserError
            It does not answer, or its stream is switched off.
        """
        mode = self._get("config/mode")
        if mode is None:
            raise UserError(
                f"no detector answers at {self._url}: check the address, or leave out ?api="
            )
        if mode != "enabled":
            raise UserError(
                f"the stream of the detector at {self._url} is {mode}: set its mode to enabled"
            )

    def ask_dropped(self, counters: dict[str, int]) -> None:
        """Begin to ask how many images of its last series the detector dropped.

        Parameters
        ----------
        counters
            The answer is added to ``counters["dropped"]``, from another thread.
        """
        self._answer = self._pool.submit(self._count_dropped, counters)

    @property
    def is_asking(self) -> bool:
        """True while an answer is waited for, which takes seconds at most."""
        return self._answer is not None and not self._answer.done()

    def close(self) -> None:
        """Ask no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _count_dropped(self, counters: dict[str, int]) -> None:
        value = self._get("status/dropped")
        if type(value) is not int or value > _MOST_IMAGES:
            logger.warning("the detector at %s does not say how many images it dropped", self._url)
        elif value > 0:
            logger.warning("the detector says that it dropped %d images", value)
            counters["dropped"] += value

    def _get(self, key: str) -> Any:
        """Return a value of the stream, None when there is no answer."""
        for version in _VERSIONS:
            try:
                with urlopen(
                    f"{self._url}/stream/api/{version}/{key}", timeout=_TIMEOUT_S
                ) as reply:
                    content = json.loads(reply.read(_MOST_BYTES))
            except (HTTPException, OSError, ValueError, RecursionError):
                continue
            return content.get("value") if isinstance(content, dict) else content
        return None
