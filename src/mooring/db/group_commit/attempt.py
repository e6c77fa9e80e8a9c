"""One try to commit some entries on one connection: the statements, the comparison, the commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Any, Final

from ..driver import Driver, Row
from ..lease import Lease
from .comparing import Compare, Stored
from .queue import ROWS, SIZE, Entry
from .statements import Literal, OnDuplicate, Server, Statements, least_size, most_size

MOST_KEYS: Final = 1000
"""Keys of one SELECT; MariaDB turns longer lists into a temporary table (in_predicate_conversion_threshold)."""


@dataclass(frozen=True)
class Table:
    """What is stored, and how.

    Args:
        statements: writes the SQL.
        key: where in a row the values of its key are.
        compare: whether a stored row is the offered one.
        driver: the database's.
    """

    statements: Statements
    key: tuple[int, ...]
    compare: Compare
    driver: Driver

    @property
    def literals(self) -> Callable[[Any], Literal]:
        """Gives for a connection the function that writes a value as SQL."""
        return self.driver.literals

    def key_of(self, row: Row) -> Row:
        """The values of a row's key."""
        return tuple(row[place] for place in self.key)

    def in_order(self, entries: Sequence[Entry]) -> list[Row]:
        """All rows by ascending key, so that two writers lock them in the same order; equal keys as they came."""
        rows: list[Row] = list(chain.from_iterable(map(ROWS, entries)))
        if self.key and len(rows) > 1:
            try:
                rows.sort(key=itemgetter(*self.key))
            except TypeError:  # a None among numbers; the order only keeps deadlocks rare
                pass
        return rows

    def error(self, kind: str, number: int, text: str) -> Exception:
        """An error of ours in the driver's class, with MySQL's number where the driver has numbers."""
        cls: type[Exception] = getattr(self.driver.errors, kind)
        return cls(number, text) if self.driver.dialect == "mysql" else cls(text)


@dataclass
class Verdict:
    """What became of the entries of an attempt that did not raise.

    Args:
        is_committed: the others are stored. False: nothing is.
        differing: entries with a row whose key has another row already, each with its error.
        astray: entries with a row that was not taken, and yet its key is not there: another unique key of the table
            has it, or it has been deleted since.
        was_compared: some rows were there already.
    """

    is_committed: bool
    differing: list[tuple[Entry, Exception]] = field(default_factory=list)
    astray: list[Entry] = field(default_factory=list)
    was_compared: bool = False


class Attempt:
    """See the module.

    Args:
        table: what to do.
        entries: those to commit, in the order in which they came.
        mode: what a row is that is there already.

    Attributes:
        may_be_stored: what commits has been sent and not been answered. If the connection is lost now, nobody knows.
    """

    def __init__(self, table: Table, entries: Sequence[Entry], mode: OnDuplicate) -> None:
        self._table = table
        self._entries = entries
        self._mode = mode
        self.may_be_stored = False

    def run(self, lease: Lease, server: Server) -> Verdict:
        """Store and commit.

        Raises:
            Whatever the driver raises; ``may_be_stored`` says what that means.
        """
        rows = self._table.in_order(self._entries)
        if not rows:
            return Verdict(is_committed=True)
        most_bytes = server.most_bytes - self._table.statements.head_size
        fits = sum(map(SIZE, self._entries)) <= most_bytes
        chunks = [rows] if fits else list(self._split(rows, most_bytes))
        if len(chunks) > 1 or self._needs_transaction(lease):
            return self._run_in_transaction(lease, server, chunks)
        insert = self._table.statements.insert(server, self._mode, rows, self._table.literals(lease.raw))
        self.may_be_stored = True  # the statement commits by itself
        new = insert.run(lease)
        self.may_be_stored = False
        return self._judge(lease, server, rows, new) or Verdict(is_committed=True)

    def _needs_transaction(self, lease: Lease) -> bool:
        """Whether one statement is not enough: it does not commit, or may have to be taken back."""
        if self._table.driver.dialect != "mysql" or not lease.raw.get_autocommit():
            return True
        return self._mode == "repeat" and max(map(len, map(ROWS, self._entries))) > 1

    def _run_in_transaction(self, lease: Lease, server: Server, chunks: list[list[Row]]) -> Verdict:
        literal = self._table.literals(lease.raw)
        inserts = [self._table.statements.insert(server, self._mode, chunk, literal) for chunk in chunks]
        lease.begin(None, False)
        new = sum(insert.run(lease) for insert in inserts)
        verdict = self._judge(lease, server, [row for chunk in chunks for row in chunk], new)
        if verdict is not None and self._is_torn(verdict):
            lease.rollback()
            verdict.is_committed = False
            return verdict
        self.may_be_stored = True
        lease.commit()
        self.may_be_stored = False
        return verdict or Verdict(is_committed=True)

    @staticmethod
    def _is_torn(verdict: Verdict) -> bool:
        """Whether an entry of several rows cannot be stored: some of them are in the transaction."""
        unstored = [entry for entry, _ in verdict.differing] + verdict.astray
        return any(len(entry.rows) > 1 for entry in unstored)

    def _judge(self, lease: Lease, server: Server, rows: list[Row], new: int) -> Verdict | None:
        """Compare what is stored with ours if some rows were there already; None: all is well."""
        if self._mode != "repeat" or new >= len(rows):
            return None
        stored = self._read(lease, server, rows)
        verdict = Verdict(is_committed=True, was_compared=True)
        taken_back: set[Row] = set()
        for entry in self._entries:
            self._judge_entry(entry, stored, verdict, taken_back)
        return verdict

    def _judge_entry(self, entry: Entry, stored: Stored, verdict: Verdict, taken_back: set[Row]) -> None:
        """Note an entry that cannot be stored; one that merely differs from what will be taken back is tried again."""
        for row in entry.rows:
            found = stored.find(row)
            if found is not None and self._table.compare(found, row):
                continue
            if found is None:
                verdict.astray.append(entry)
            elif self._table.key_of(row) not in taken_back:
                verdict.differing.append((entry, self._difference(row)))
            if len(entry.rows) > 1:  # its other rows are in the transaction, which is rolled back for them
                taken_back.update(map(self._table.key_of, entry.rows))
            return

    def _difference(self, row: Row) -> Exception:
        table = self._table
        key = ", ".join(
            f"{name}={_short(row[place])}" for name, place in zip(table.statements.key, table.key, strict=True)
        )
        return table.error("IntegrityError", 1062, f"another row is stored with {key}; this one differs from it")

    def _read(self, lease: Lease, server: Server, rows: list[Row]) -> Stored:
        keys = list(dict.fromkeys(self._table.key_of(row) for row in rows))
        found: list[Row] = []
        for first in range(0, len(keys), MOST_KEYS):
            found += self._table.statements.select(lease, server, keys[first : first + MOST_KEYS])
        return Stored(found, self._table.key)

    def _split(self, rows: list[Row], most_bytes: int) -> Iterator[list[Row]]:
        """Cut rows into statements that the server takes; nearly always one.

        Raises:
            DataError: a single row is too large.
        """
        chunk: list[Row] = []
        size = 0
        for row in rows:
            most = most_size(row)
            if most > most_bytes and least_size(row) > most_bytes:
                text = f"a row of {least_size(row)} bytes is more than the server's max_allowed_packet lets through"
                raise self._table.error("DataError", 1153, text)
            if chunk and size + most > most_bytes:
                yield chunk
                chunk, size = [], 0
            chunk.append(row)
            size += most
        yield chunk


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 64 else text[:61] + "..."
