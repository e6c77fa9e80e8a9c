"""HTTP as uvicorn speaks it, with bounds that it lacks: on how many may connect, and on how long a request may take.

Every connection of the admin side takes a file descriptor that a device may need. uvicorn can answer 503 while there
are many, also to those who are not to blame; and it waits without end for a request that does not come, or comes a byte
at a time, and lets everybody connect.
"""

from __future__ import annotations

import asyncio
import math
import socket
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS: Final = 128
MOST_OF_AN_ADDRESS: Final = 64
"""When one more comes, who has been owing a request for the longest gives way, of its address or of all: a flood of
silent ones must not keep out the probe that decides whether the process lives. If all are being answered, it is closed
itself."""

REQUEST_TIME = 10.0
"""Seconds from the beginning of a connection, or from its last answer, until a whole request must be there."""

TAKING_TIME: Final = 30.0
"""Seconds for which a peer may take nothing of an answer (TCP_USER_TIMEOUT of tcp(7), which zero windows count for)."""

TOO_LATE: Final = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedProtocol(H11Protocol):
    """One connection. Belongs to the admin side's thread, as all of uvicorn does."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows the type
        """See asyncio.Protocol."""
        super().connection_made(transport)
        if not self._makes_room():
            transport.abort()
            return
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(TAKING_TIME * 1000))
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        self._look()

    def send_400_response(self, msg: str) -> None:
        """See H11Protocol, which knows nothing of an answer that is being made to a request whose body then turns out
        to be none: that answer would end in a traceback, and whoever reaches the port could fill the log with them."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()  # in the middle of another answer

    def on_response_complete(self) -> None:
        """See H11Protocol."""
        super().on_response_complete()
        self._look()

    def _makes_room(self) -> bool:
        """Whether there is a place for this one, or another one has given way."""
        all_: list[BoundedProtocol] = [one for one in self.connections if isinstance(one, BoundedProtocol)]
        of_this = [one for one in all_ if (one.client or ())[:1] == (self.client or ())[:1]]
        crowd = of_this if len(of_this) > MOST_OF_AN_ADDRESS else all_
        if len(all_) <= MOST_CONNECTIONS and crowd is all_:
            return True
        owing = min((one for one in crowd if one._timer is not None), key=BoundedProtocol._due, default=None)
        if owing is None:
            return False
        owing._stop_timer()  # it owes nothing any more, and is not chosen twice
        owing.transport.abort()
        return True

    def _due(self) -> float:
        return self._timer.when() if self._timer is not None else math.inf

    def _look(self) -> None:
        """The timer runs while a request is not there, or not all of it."""
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY) or self.transport.is_closing():
            self._stop_timer()
        elif self._timer is None:
            self._timer = self.loop.call_later(REQUEST_TIME, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if self.transport.is_closing():
            return
        has_begun = self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]
        if has_begun and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(TOO_LATE)
        self.transport.close()
