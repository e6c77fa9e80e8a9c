"""Every exception that Mooring raises on its own account.

    MooringError
    +-- FrameError            bytes that the framing refuses
    +-- BindError             an address that cannot be listened on (also OSError)
    +-- ConnectionClosed      sending to, or waiting for, a connection that is gone
    +-- QueueFull             a thread pool whose queue is at its limit
    +-- PoolError             the database pool has no connection to give
        +-- PoolTimeout       none became free in time (also TimeoutError)
        +-- PoolBusy          too many callers, or rows, wait already
        +-- PoolUnavailable   the database cannot be reached, or refuses us
        +-- PoolClosed        the pool has been closed
        +-- CommitUnknown     the connection was lost while committing

Errors of the database itself (a duplicate key, a syntax error) are the driver's own and pass unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence


class MooringError(Exception):
    """Base of all errors of this package."""


class FrameError(MooringError):
    """The peer sent bytes that the framing cannot accept, or a message cannot be framed.

    Args:
        detail: what was wrong, for the log.
        messages: the messages that were complete before the fault; they are still served.
    """

    def __init__(self, detail: str, messages: Sequence[bytes] = ()) -> None:
        super().__init__(detail)
        self.messages = tuple(messages)


class BindError(MooringError, OSError):
    """An address could not be listened on; the text names the address, the cause and what to do."""


class ConnectionClosed(MooringError):
    """The connection is closed, or closing: nothing more can be sent on it."""


class QueueFull(MooringError):
    """The thread pool's queue is at its limit."""


class PoolError(MooringError):
    """Base of the database pool's errors."""


class PoolTimeout(PoolError, TimeoutError):
    """No connection became free within the time-out; the text says who holds them."""


class PoolBusy(PoolError):
    """More callers wait for a connection (``max_waiting``), or more rows in a group commit, than is allowed."""


class PoolUnavailable(PoolError):
    """The database cannot be reached or refuses us; ``__cause__`` is the last error of the driver."""


class PoolClosed(PoolError):
    """The pool has been closed."""


class CommitUnknown(PoolError):
    """The connection was lost during COMMIT: the transaction may be stored or not."""


def text_of(exc: BaseException) -> str:
    """What an exception says; never raises, as the ``__str__`` of somebody else's class may."""
    try:
        return str(exc)
    except Exception:  # noqa: BLE001
        return f"({type(exc).__qualname__} cannot say what it is)"
