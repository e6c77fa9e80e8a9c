"""A batch, from the queue to the results: tried, tried again, cut in two, until every entry has its result."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from ...errors import CommitUnknown, PoolClosed, PoolError, PoolUnavailable
from ..contexts import LONGEST_PAUSE, SHORTEST_PAUSE
from ..driver import Driver
from .attempt import Attempt, Table, Verdict
from .queue import DEADLINE, Entry, Queue, QueueState, count_rows
from .results import Results
from .statements import UNKNOWN_PACKET, OnDuplicate, Server
from .stats import Tally

if TYPE_CHECKING:
    from ..pool import ConnectionPool

logger = logging.getLogger("mooring.db")

LONGEST_WAIT: Final = 0.5
"""Seconds between two looks whether the database can store again; the pool itself finds out whether it is there."""
LOSSES_TO_BISECT: Final = 2
LOSSES_TO_GIVE_UP: Final = 5
"""Connections that one entry alone may lose before it is taken for the cause."""


class Trouble(Enum):
    """What an error says about an attempt."""

    ROW = auto()  # a row is refused: find it
    AGAIN = auto()  # everything is rolled back, and may succeed the next time
    LOST = auto()  # the connection is lost; nothing is stored
    UNKNOWN = auto()  # the connection is lost, and what was sent may be stored
    WAIT = auto()  # the database cannot store anything now
    CLOSED = auto()  # the pool is closed
    INTERRUPTED = auto()  # a SystemExit or its like: whatever it wants, rows need their results


@dataclass
class Part:
    """Some entries of a batch, and what has happened to them.

    Args:
        entries: in the order in which they came.
        mode: what a row is that is there already.
        losses: connections lost with them.
        waits: pauses made for them because the database could not store anything.
    """

    entries: Sequence[Entry]
    mode: OnDuplicate
    losses: int = 0
    waits: int = 0


class Committer:
    """Commits batches for one writer, in its thread.

    Args:
        pool: lends a connection per attempt.
        table: what is stored.
        mode: ``on_duplicate``.
        queue: says when nothing is to be tried any more.
        results: takes what has become of entries.
        tally: counts.
        label: for messages.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        table: Table,
        mode: OnDuplicate,
        queue: Queue,
        results: Results,
        tally: Tally,
        label: str,
    ) -> None:
        self._pool = pool
        self._driver: Driver = pool._driver
        self._clock = pool._clock
        self._table = table
        self._mode = mode
        self._queue = queue
        self._results = results
        self._tally = tally
        self._label = label
        self._server: Server | None = None

    def most_bytes(self) -> int:
        """Bytes of the rows of one statement."""
        server = self._server
        most = UNKNOWN_PACKET if server is None else server.most_bytes
        return most - self._table.statements.head_size

    def commit(self, entries: Sequence[Entry]) -> None:
        """Give each entry its result, however long that takes; parts keep the order of their entries."""
        todo = [Part(entries, self._mode)]
        while todo:
            part = todo.pop()
            part.entries = self._without_late(part.entries)
            if self._queue.state is QueueState.ABANDONED:
                self._give_up_closed(part)
            elif not any(entry.rows for entry in part.entries):
                self._results.stored(part.entries)  # only marks, or nothing
            else:
                todo += reversed(self._try(part))

    def _without_late(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        now = self._clock()
        if min(map(DEADLINE, entries)) > now:
            return entries
        self._results.expire([entry for entry in entries if entry.deadline <= now])
        return [entry for entry in entries if entry.deadline > now]

    def _try(self, part: Part) -> list[Part]:
        """Attempt a part; returns what is left to do, in order."""
        attempt = Attempt(self._table, part.entries, part.mode)
        try:
            started, verdict = self._attempt(attempt, part)
        except BaseException as exc:  # noqa: BLE001 - whatever it is, the rows get a result and the thread lives
            return self._recover(part, exc, may_be_stored=attempt.may_be_stored)
        return self._conclude(part, verdict, self._clock() - started)

    def _attempt(self, attempt: Attempt, part: Part) -> tuple[float, Verdict]:
        with self._pool.get_connection(self._patience(part)) as lease:
            started = self._clock()
            if self._queue.state is QueueState.ABANDONED:
                raise PoolClosed(self._label)
            if self._server is None:
                self._server = Server.of(lease, self._pool.dialect)
            try:
                return started, attempt.run(lease, self._server)
            except Exception as exc:
                # Half an answer may be on the wire: of a fault of the process itself the driver says nothing.
                lease.broken = lease.broken or (attempt.may_be_stored and not isinstance(exc, self._pool.Error))
                raise

    def _patience(self, part: Part) -> float:
        """Seconds to wait for a connection: not beyond the time when the first entry is given up."""
        left: float = min(map(DEADLINE, part.entries)) - self._clock()
        return min(self._pool._ledger.options.timeout, max(left, 0.0))

    # --------------------------------------------------------------------------------------------------- verdicts

    def _conclude(self, part: Part, verdict: Verdict, seconds: float) -> list[Part]:
        """The attempt came through; returns what is left to do."""
        if verdict.differing or verdict.astray:
            return self._separate(part, verdict, seconds)
        self._note_commit(part.entries, verdict, seconds)
        self._results.stored(part.entries)
        return []

    def _note_commit(self, stored: Sequence[Entry], verdict: Verdict, seconds: float) -> None:
        rows = count_rows(stored)
        self._tally.note_commit(rows, seconds)
        self._results.last_error = None  # what went wrong before is no reason any more
        if verdict.was_compared:
            self._tally.note("repeated", rows)

    def _separate(self, part: Part, verdict: Verdict, seconds: float) -> list[Part]:
        """Some cannot be stored as they are; the others are, if it was committed."""
        apart = {id(entry) for entry, _ in verdict.differing} | {id(entry) for entry in verdict.astray}
        others = [entry for entry in part.entries if id(entry) not in apart]
        outcomes: list[tuple[Entry, BaseException | None]] = list(verdict.differing)
        self._tally.note("failed", count_rows(entry for entry, _ in verdict.differing))
        if verdict.is_committed:
            outcomes += [(entry, None) for entry in others]
            self._note_commit(others, verdict, seconds)
            others = []
        self._results.settle(outcomes)
        # One astray is inserted plainly, so that the database says what is the matter with it, or takes it.
        strays = [Part([entry], "fail") for entry in verdict.astray]
        return [*([Part(others, part.mode, part.losses)] if others else []), *strays]

    def _diagnose(self, exc: BaseException, *, may_be_stored: bool) -> Trouble:
        """What an error means for the entries of an attempt."""
        if not isinstance(exc, Exception):
            return Trouble.INTERRUPTED
        if isinstance(exc, CommitUnknown):
            return Trouble.UNKNOWN
        if isinstance(exc, PoolClosed):
            return Trouble.CLOSED
        if isinstance(exc, PoolError):
            return Trouble.WAIT
        if self._driver.breaks(exc) or (may_be_stored and not isinstance(exc, self._pool.Error)):
            return Trouble.UNKNOWN if may_be_stored else Trouble.LOST
        if self._driver.may_repeat(exc):
            return Trouble.AGAIN
        if self._driver.lost_writer(exc) or self._driver.may_pass(exc):
            return Trouble.WAIT
        return Trouble.ROW

    def _recover(self, part: Part, exc: BaseException, *, may_be_stored: bool) -> list[Part]:
        """The attempt raised; returns what is left to do."""
        trouble = self._diagnose(exc, may_be_stored=may_be_stored)
        self._results.last_error = exc
        match trouble:
            case Trouble.ROW:
                return self._bisect(part, exc)
            case Trouble.AGAIN:
                self._tally.note("retries", 1, exc)
                # At random, or the same two meet again.
                self._rest(random.uniform(SHORTEST_PAUSE, LONGEST_PAUSE))
                return [part]
            case Trouble.WAIT:
                self._tally.note_wait(exc)
                self._rest(min(LONGEST_WAIT, 0.05 * 2 ** min(part.waits, 10)))
                part.waits += 1
                return [part]
            case Trouble.LOST | Trouble.UNKNOWN:
                return self._after_loss(part, exc, is_unknown=trouble is Trouble.UNKNOWN)
            case Trouble.CLOSED:
                self._give_up_closed(part)
            case Trouble.INTERRUPTED:
                self._give_up_interrupted(part, exc, is_unknown=may_be_stored)
        return []

    def _bisect(self, part: Part, exc: BaseException) -> list[Part]:
        """A row is refused: alone it fails, in company its half is looked for."""
        entries = part.entries
        rows = [entry for entry in entries if entry.rows]
        if len(rows) > 1 and not self._concerns_all(exc):
            self._tally.note("bisected", 1, exc)
            return self._halves(part)
        self._tally.note("failed", count_rows(rows), exc)
        self._results.settle([(entry, exc if entry.rows else None) for entry in entries])
        return []

    def _concerns_all(self, exc: BaseException) -> bool:
        """Whether the statement itself is wrong: no table, no column. SQLite's class of that name says less.

        The server's errors begin with their number. The driver has errors of the class, too, for single values: NaN.
        """
        is_servers = bool(exc.args) and isinstance(exc.args[0], int)
        return self._pool.dialect == "mysql" and is_servers and isinstance(exc, self._pool.ProgrammingError)

    def _after_loss(self, part: Part, exc: BaseException, *, is_unknown: bool) -> list[Part]:
        """The connection is lost: rows with a unique key can be sent again without harm, whatever became of them."""
        self._tally.note("losses", 1, exc)
        self._server = None  # the next one may be another server
        part.losses += 1
        for entry in part.entries if is_unknown else ():
            entry.is_unknown = True
        is_alone = sum(1 for entry in part.entries if entry.rows) <= 1
        if is_unknown and not self._table.key:
            why = "the connection was lost during the commit, and a row without a unique key is not repeated"
            self._results.give_up(part.entries, PoolUnavailable(f"{self._label}: {why}"))
            return []
        if is_alone and part.losses >= LOSSES_TO_GIVE_UP:
            why = f"the connection was lost {part.losses} times at this row"
            self._results.give_up(part.entries, PoolUnavailable(f"{self._label}: {why}"))
            return []
        if is_unknown and part.mode == "fail":
            part.mode = "repeat"  # from now on an equal row is most likely ours
        self._rest(min(LONGEST_WAIT, 0.01 * 2**part.losses))
        return [part] if is_alone or part.losses < LOSSES_TO_BISECT else self._halves(part)

    @staticmethod
    def _halves(part: Part) -> list[Part]:
        half = len(part.entries) // 2
        return [Part(entries, part.mode, part.losses) for entries in (part.entries[:half], part.entries[half:])]

    def _give_up_closed(self, part: Part) -> None:
        self._results.give_up(part.entries, PoolClosed(f"{self._label} was closed before the row could be stored"))

    def _give_up_interrupted(self, part: Part, exc: BaseException, *, is_unknown: bool) -> None:
        """Something that is meant to end a thread: this one is needed, so it ends the batch."""
        logger.error("%s: the writer was interrupted; its rows fail", self._label, exc_info=exc)
        for entry in part.entries if is_unknown else ():
            entry.is_unknown = True
        self._results.give_up(part.entries, PoolUnavailable(f"{self._label}: interrupted by {type(exc).__name__}"))

    def _rest(self, seconds: float) -> None:
        self._queue.rest(seconds)
