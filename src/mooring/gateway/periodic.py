"""A thread that does something again and again, and once more when it is told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger("mooring.gateway")


class Periodic:
    """Calls a function every ``interval`` seconds; what it raises is logged, and it is called again.

    Args:
        name: of the thread.
        interval: seconds from the end of one call to the next.
        function: what to do.
        at_end: what to do instead when it is closed; nothing if None.
    """

    def __init__(
        self, name: str, interval: float, function: Callable[[], None], at_end: Callable[[], None] | None = None
    ) -> None:
        self._function = function
        self._at_end = at_end
        self._interval = interval
        self._awake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Call the function soon, from its own thread."""
        self._awake.set()

    def close(self) -> None:
        """Do what is due at the end, and wait for it."""
        self._closing = True
        self._awake.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._awake.wait(self._interval)
            self._awake.clear()
            if self._closing:
                break
            self._call(self._function)
        if self._at_end is not None:
            self._call(self._at_end)

    def _call(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:
            logger.exception("%s failed; it is tried again", self._thread.name)
