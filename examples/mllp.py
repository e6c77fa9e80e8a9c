r"""HL7 version 2 over MLLP, as hospitals send it: a message is acknowledged when it is stored, and only then.

    .venv/bin/mooring serve --app-dir examples mllp
    printf 'MSH|^~\\&|LAB|A|HIS|B|20260102||ORU^R01|42|P|2.5\rPID|1||7\r' > result.hl7
    mllp_send --loose --file result.hl7 --port 7575 127.0.0.1

(``pip install hl7`` brings ``mllp_send``.) The answer is an ACK with the control id of the message: ``AA`` if it is
stored, also if it was stored before; ``AE`` if it could not be stored now, so that the sender tries again; ``AR`` for
what is no HL7, or has an id under which another message is stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from mooring import Connection, Reply, Server
from mooring.db import ConnectionPool, GroupCommit
from mooring.framing import Delimited

START, END = b"\x0b", b"\x1c\r"
LONGEST_FIELD = 199


@dataclass(frozen=True)
class Header:
    """What the segment MSH says: who sent the message to whom, and what it is."""

    separator: str
    encoding: str
    fields: tuple[str, ...]

    @classmethod
    def parse(cls, message: bytes) -> Self:
        """Read the first segment.

        Raises:
            ValueError: it is none, or has no control id.
        """
        first = re.split(rb"[\r\n]", message, maxsplit=1)[0].decode("latin-1")
        separator, rest = first[3:4], first[4:]
        if not first.startswith("MSH") or not separator or separator.isalnum():
            raise ValueError("the message does not begin with MSH and a separator")
        encoding, *fields = rest.split(separator)
        if not 4 <= len(encoding) <= 5 or len(set(encoding + separator)) <= len(encoding):
            raise ValueError("MSH-2 has not four characters of its own")
        fields = [*fields, *[""] * (10 - len(fields))]
        if any(len(field) > LONGEST_FIELD for field in fields[:10]):
            raise ValueError(f"a field of MSH is longer than {LONGEST_FIELD} characters")
        if not fields[7]:
            raise ValueError("MSH-10, the control id, is empty")
        return cls(separator, encoding, tuple(fields[:10]))

    def __getitem__(self, number: int) -> str:
        """MSH-``number``, from 3 on, as the standard counts."""
        return self.fields[number - 3]

    def answer(self, code: str, text: str = "") -> bytes:
        """An ACK to the message of this header.

        Args:
            code: AA, AE or AR.
            text: for people; what would end a field in it is left out.
        """
        component = self.encoding[0]
        kind, event = "ACK", self[9].split(component)[1:2]
        now = f"{datetime.now(UTC):%Y%m%d%H%M%S+0000}"
        head = [
            self[5],
            self[6],
            self[3],
            self[4],
            now,
            "",
            component.join([kind, *event]),
            self[10],
            self[11],
            self[12],
        ]
        said = "".join(char for char in text if char.isprintable() and char not in self.encoding + self.separator)
        segments = [
            f"MSH{self.separator}" + self.separator.join([self.encoding, *head]),
            self.separator.join(["MSA", code, self[10], said[:80]]),
        ]
        return "".join(f"{segment}\r" for segment in segments).encode("latin-1", "replace")


UNREADABLE = Header("|", "^~\\&", ("",) * 8 + ("P", "2.5"))
"""Answers a message whose own header tells nothing."""


class Messages:
    """Stores messages by sender and control id, and answers them."""

    COLUMNS = ("sender", "control_id", "message", "received_at")
    pool: ConnectionPool
    rows: GroupCommit

    @contextmanager
    def lifespan(self, server: Server) -> Iterator[None]:
        assert server.database is not None
        self.pool = server.database
        blob = "BLOB" if self.pool.dialect == "sqlite" else "LONGBLOB"
        with self.pool.connection() as db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS hl7 (sender VARBINARY(400) NOT NULL, control_id VARBINARY(200) NOT NULL,"
                f" message {blob} NOT NULL, received_at DATETIME NOT NULL, PRIMARY KEY (sender, control_id))"
            )
        self.rows = self.pool.group_commit(
            "hl7", self.COLUMNS, key=("sender", "control_id"), on_duplicate="repeat", compare=("message",)
        )
        yield

    def received(self, connection: Connection, message: bytes) -> Reply:
        try:
            header = Header.parse(message)
        except ValueError as exc:
            connection.log.warning("refused: %s", exc)
            return UNREADABLE.answer("AR", str(exc))
        sender = f"{header[3]}{header.separator}{header[4]}".encode("latin-1")
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
        stored = self.rows.add((sender, header[10].encode("latin-1"), message, now))

        def failed(exc: BaseException) -> bytes:
            connection.log.warning("message %r was not stored: %s", header[10], exc)
            if isinstance(exc, self.pool.IntegrityError):
                return header.answer("AR", "another message with this control id is stored")
            return header.answer("AE", "it could not be stored now, send it again")

        return stored.then(lambda _: header.answer("AA"), failed)


messages = Messages()
server = Server(
    messages.received,
    framing=Delimited(START, END, max_size=1 << 20),
    bind="tcp://127.0.0.1:7575",
    name="mllp",
    blocking=False,
    idle_timeout=None,  # a ward may have nothing to say at night
    first_message_timeout=None,
    database="sqlite:///hl7.db",
    lifespan=messages.lifespan,
)

if __name__ == "__main__":
    server.run()
