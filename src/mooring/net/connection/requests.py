"""Requests to a peer: who asks waits, and the first message that fits is the answer instead of the handler's."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .items import Item


class Request:
    """A request that waits for its answer.

    It is open while it stands among the connection's. Whoever takes it out of there, and nobody else, decides how it
    ends: the thread that reads, with an answer or an error, or the one that waits, when its time is over.
    """

    __slots__ = ("answer", "baton", "error", "match")

    def __init__(self, match: Callable[[bytes], bool]) -> None:
        self.match = match
        self.answer = b""
        self.error: BaseException | None = None
        self.baton = threading.Lock()
        self.baton.acquire()


class Requests:
    """The open requests of one connection, oldest first.

    Args:
        lock: the connection's stripe; guards ``_open``, which is replaced and never changed, so it is read without.
    """

    __slots__ = ("_lock", "_open")

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._open: tuple[Request, ...] = ()

    def __len__(self) -> int:
        return len(self._open)

    def add_locked(self, request: Request) -> None:
        """Offer what comes to this one, too."""
        self._open = (*self._open, request)

    def withdraw(self, request: Request) -> bool:
        """Take a request out of the open ones. True: it was there, and its end is the caller's to decide."""
        with self._lock:
            before = self._open
            self._open = tuple(other for other in before if other is not request)
            return len(self._open) < len(before)

    def fail(self, request: Request, error: BaseException) -> None:
        """No answer can come; whoever waits is told, unless the request has ended already."""
        if self.withdraw(request):
            request.error = error
            request.baton.release()

    def fail_all(self, make_error: Callable[[], BaseException]) -> None:
        """Fail all of them, each with an error of its own: an error is raised in one thread."""
        for request in self._open:
            self.fail(request, make_error())

    def offer(self, items: list[Item]) -> list[Item]:
        """Offer messages; returns those that none of the requests took. For the thread that reads."""
        return [item for item in items if not (isinstance(item, bytes) and self._is_answered_by(item))]

    def _is_answered_by(self, message: bytes) -> bool:
        for request in self._open:
            try:
                fits = request.match(message)
            except BaseException as exc:  # noqa: BLE001 - code of the user's: it fails where it was handed in
                self.fail(request, exc)
                continue
            if fits and self.withdraw(request):
                request.answer = message
                request.baton.release()
                return True
        return False
