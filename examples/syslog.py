"""Syslog over TCP (RFC 6587): both framings at once, RFC 5424 and RFC 3164, stored through group commit.

    .venv/bin/mooring serve --app-dir examples syslog
    logger --tcp --octet-count --server 127.0.0.1 --port 7514 --tag door "somebody rang"

``sqlite3 syslog.db 'SELECT * FROM syslog'`` shows it; ``--database mysql://...`` stores elsewhere.

Syslog knows no acknowledgement. What was read is stored before a stop ends, and while the database is slow the senders
are not read, so that they keep what they have. If it is away for too long their connections are closed, and they try
again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from mooring import Connection, FrameError, Reply, Server
from mooring.db import GroupCommit


@dataclass(frozen=True)
class Rfc6587:
    r"""Each message tells by its first byte how it is framed::

        31 32 20 3C 33 34 3E 31 20 ...      "12 <34>1 ..."    a digit: so many bytes follow the blank
        3C 33 34 3E 31 20 ... 0A            "<34>1 ...\n"     anything else: up to the line feed

    Empty lines are passed over: some senders put one behind a message that was counted.

    Args:
        max_size: the most bytes in a message. RFC 5424 asks for 480 and recommends 2,048.
    """

    max_size: int = 8192

    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        messages: list[bytes] = []
        begin = 0
        while begin < len(data):
            if data[begin : begin + 1].isdigit():
                begin_of_message = self._end_of_count(data, begin, messages)
                if begin_of_message is None:
                    return messages, data[begin:], 0
                end = following = begin_of_message + int(data[begin : begin_of_message - 1])
                if end > len(data):
                    return messages, data[begin:], end - len(data)
            else:
                begin_of_message, end = begin, data.find(b"\n", begin)
                if (end if end >= 0 else len(data)) - begin > self.max_size:
                    raise FrameError(f"a line of more than {self.max_size} bytes", messages)
                if end < 0:
                    return messages, data[begin:], 0
                following = end + 1
            message = data[begin_of_message:end].rstrip(b"\r\n\0")
            if message:
                messages.append(message)
            begin = following
        return messages, b"", 0

    def join(self, message: bytes) -> bytes:
        if not 1 <= len(message) <= self.max_size or message[-1:] in b"\r\n\0":
            raise FrameError(f"a message has 1 to {self.max_size} bytes and does not end with a line")
        return b"%d %b" % (len(message), message)

    def _end_of_count(self, data: bytes, begin: int, messages: list[bytes]) -> int | None:
        """Where the message begins whose count begins here; None: not all of the count is there."""
        longest = len(str(self.max_size))
        found = re.compile(rb"([1-9][0-9]{0,%d})(?: |\Z)" % (longest - 1)).match(data, begin)
        if found is None:
            raise FrameError(f"expected the number of bytes, got {data[begin : begin + longest + 1]!r}", messages)
        if int(found[1]) > self.max_size:
            raise FrameError(f"a message of {int(found[1])} bytes, more than {self.max_size}", messages)
        return found.end() if found[0].endswith(b" ") else None


ELEMENT = r'\[[^]\s]+(?: [^]=\s]+="(?:\\.|[^"\\])*")*\]'
RFC_5424 = re.compile(rf"<(\d{{1,3}})>1 (\S+) (\S+) (\S+) \S+ \S+ (?:-|(?:{ELEMENT})+)(?: (.*))?\Z", re.DOTALL)
RFC_3164 = re.compile(
    r"<(\d{1,3})>(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (\S+) )?(?:([^\s:[\]]{1,48})(?:\[[^]]*\])?: )?(.*)\Z",
    re.DOTALL,
)


@dataclass(frozen=True)
class Entry:
    """What is kept of a message; ``host`` and ``app`` are empty where it does not tell them."""

    facility: int
    severity: int
    host: str
    app: str
    text: str

    @classmethod
    def parse(cls, message: bytes) -> Self:
        """Read a message of either kind.

        Raises:
            FrameError: it does not begin with a priority.
        """
        text = message.decode(errors="replace")
        if found := RFC_5424.match(text):
            priority, _, host, app, said = found.groups()
            host, app = ("" if field == "-" else field for field in (host, app))
        elif found := RFC_3164.match(text):
            priority, host, app, said = found.groups()
        else:
            raise FrameError(f"no syslog: {message[:60]!r}")
        if int(priority) > 191:
            raise FrameError(f"the priority {priority} is more than 191")
        facility, severity = divmod(int(priority), 8)
        said = (said or "").removeprefix("\ufeff")
        return cls(facility, severity, (host or "")[:255], (app or "")[:255], said)


class Log:
    """Stores entries. ``add`` never waits, so the server may run it on the loop."""

    COLUMNS = ("received_at", "facility", "severity", "host", "app", "message")
    TABLE = (
        "CREATE TABLE IF NOT EXISTS syslog (received_at DATETIME(3) NOT NULL, facility SMALLINT NOT NULL,"
        " severity SMALLINT NOT NULL, host VARCHAR(255) NOT NULL, app VARCHAR(255) NOT NULL, message TEXT NOT NULL)"
    )
    rows: GroupCommit

    @contextmanager
    def lifespan(self, server: Server) -> Iterator[None]:
        pool = server.database
        assert pool is not None
        with pool.connection() as db:
            db.execute(self.TABLE + ("" if pool.dialect == "sqlite" else " CHARACTER SET utf8mb4"))
        self.rows = pool.group_commit("syslog", self.COLUMNS, writers=1)  # more would mix up the order
        yield

    def received(self, connection: Connection, message: bytes) -> Reply:
        entry = Entry.parse(message)
        now = datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        row = (now, entry.facility, entry.severity, entry.host, entry.app, entry.text)
        return self.rows.add(row)  # no answer, but the connection waits for it when too many are under way


log = Log()
server = Server(
    log.received,
    framing=Rfc6587(),
    bind="tcp://127.0.0.1:7514",
    name="syslog",
    blocking=False,
    idle_timeout=None,  # a host may have nothing to say for days
    first_message_timeout=None,
    database="sqlite:///syslog.db",
    lifespan=log.lifespan,
)

if __name__ == "__main__":
    server.run()
