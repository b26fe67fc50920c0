"""What goes on beside a run, and must not end it."""

from __future__ import annotations

import logging
from collections.abc import Callable

__all__ = ["BestEffort"]

logger = logging.getLogger(__name__)

_MOST = 20
_OTHER = "other troubles"


class BestEffort:
    """Does what a run can be without; what goes wrong is said once, counted and tried again."""

    def __init__(self) -> None:
        self.troubles: dict[str, int] = {}
        """How often something went wrong, by what and why; the first few, and all others as one."""

    def __call__(self, what: str, do: Callable[[], object]) -> bool:
        """Do something; False if it could not be done.

        Parameters
        ----------
        what
            What cannot be done when it fails, in words.
        """
        try:
            do()
        except (Exception, SystemExit) as error:  # the latter is rich's answer to a closed pipe
            self._note(f"{what}: {_reason(error)}", error)
            return False
        return True

    def _note(self, trouble: str, error: BaseException) -> None:
        if trouble not in self.troubles and len(self.troubles) >= _MOST:
            trouble = _OTHER
        if trouble not in self.troubles:
            logger.warning("%s; the run goes on", trouble)
            logger.debug("%s", trouble, exc_info=error)
        self.troubles[trouble] = self.troubles.get(trouble, 0) + 1


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # without the name of a file that is new each time
    if isinstance(error, SystemExit):
        return "nobody reads it any more"
    return str(error).partition("\n")[0] or type(error).__name__
