"""Opening connections: in the caller's thread where that is quick, else in threads that end when nobody waits."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

from ..errors import PoolError
from .driver import ConnectFailure, Driver
from .events import Events, PoolEventKind
from .health import RETRY_INTERVAL
from .ledger import OPEN, Ledger
from .limits import Limits
from .slot import Slot


class Opening:
    """Everything that connects. ``_threads`` is guarded by the ledger's mutex; the rest never changes.

    A connect that is under way is counted in ``ledger.opening`` from the moment that it is decided on. An opener
    thread ends when nobody wants a connection. While the database is away one of them goes on trying: every 0.2 s
    while callers wait, else with growing pauses.
    """

    def __init__(self, driver: Driver, ledger: Ledger, events: Events) -> None:
        self._driver = driver
        self._ledger = ledger
        self._events = events
        self._limits = Limits(driver, ledger, events)
        self._threads: set[threading.Thread] = set()
        self.is_forgotten = False  # the pool is gone
        self.renew()

    def renew(self) -> None:
        """Begin anew; also in a forked child, whose parent's threads are gone."""
        self._threads = set()
        self.closing = threading.Event()
        self._callers_came = threading.Event()

    def connect(self) -> Any:
        """Open one connection and let ``on_connect`` prepare it; any exception is a failed connect."""
        started = self._ledger.clock()
        connection = self._driver.connect()
        try:
            self._limits.read(connection)
            self.prepare(connection)
        except BaseException:
            self._driver.close(connection)
            raise
        with self._ledger.mutex:
            self._ledger.connect.add(self._ledger.clock() - started)
        return connection

    def prepare(self, connection: Any) -> None:
        """Let ``on_connect`` prepare a connection that is as new.

        Raises:
            PoolError: it raised.
        """
        on_connect = self._ledger.options.on_connect
        if on_connect is None:
            return
        try:
            on_connect(connection)
        except Exception as exc:
            raise PoolError(f"on_connect raised {type(exc).__name__}: {exc}") from exc

    def open_here(self, slot: Slot) -> None:
        """Fill a permit in the caller's thread.

        Raises:
            PoolUnavailable: the connect failed, whatever the reason.
        """
        ledger = self._ledger
        slot.generation, started = self._begin()
        try:
            connection = self.connect()
        except BaseException as exc:
            if isinstance(exc, Exception):
                self._note_failure(exc, started)
            with ledger.mutex:
                ledger.opening -= 1
                ledger.spread_locked()
                error = ledger.unavailable_locked()
            if isinstance(exc, Exception):
                raise error from exc
            raise
        self._note_success()
        with ledger.mutex:
            ledger.opening -= 1
            ledger.active += 1
            self._adopt_locked(slot, connection)

    def open_idle(self, deadline: float) -> None:
        """Open one connection, already counted in ``opening``, for whoever needs it.

        Raises:
            PoolUnavailable: refused, or not reached until ``deadline``.
        """
        generation, _ = self._begin()
        try:
            connection = self.connect_until(deadline)
        except BaseException:
            with self._ledger.mutex:
                self._ledger.opening -= 1
                count = self._ledger.spread_locked()
            self.start(count)
            raise
        self._hand_over(connection, generation)

    def connect_until(self, deadline: float) -> Any:
        """Connect, and try again with growing pauses (0.1 s doubled up to 5 s, at random) while that may help.

        Raises:
            PoolUnavailable: refused, or not reached until ``deadline``. PoolClosed: the pool was closed meanwhile.
        """
        pause = 0.1
        while True:
            started = self._ledger.clock()
            try:
                connection = self.connect()
            except Exception as exc:
                failure = self._note_failure(exc, started)
                left = deadline - self._ledger.clock()
                if failure.fatal or left <= 0:
                    with self._ledger.mutex:
                        error = self._ledger.unavailable_locked()
                    raise error from exc
            else:
                self._note_success()
                return connection
            if self.closing.wait(min(left, pause * random.uniform(0.5, 1.0))):
                raise self._ledger.closed_error()
            pause = min(pause * 2, 5.0)

    # ------------------------------------------------------------------------------------------ opener threads

    def start(self, count: int) -> None:
        """Start opener threads; each is counted in ``opening`` already."""
        for _ in range(count):
            thread = threading.Thread(target=self._run, name=f"{self._ledger.label}-opener", daemon=True)
            with self._ledger.mutex:
                self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError as exc:  # no thread to be had
                self._note_no_thread(thread, exc)

    def _note_no_thread(self, thread: threading.Thread, exc: RuntimeError) -> None:
        ledger = self._ledger
        detail = f"cannot start a thread to connect: {exc}"
        with ledger.mutex:
            self._threads.discard(thread)
            ledger.opening -= 1
            ledger.connect_failed_locked(ledger.clock(), exc, detail, fatal=True)

    def hurry(self) -> None:
        """Callers wait for a database that is away: try at once, if the last attempt was long enough ago."""
        self._callers_came.set()

    def stop(self) -> None:
        """Let all attempts end; they are not waited for."""
        self.closing.set()
        self._callers_came.set()

    def join(self, timeout: float) -> None:
        """Wait for the opener threads to end."""
        deadline = self._ledger.clock() + timeout
        with self._ledger.mutex:
            threads = list(self._threads)
        for thread in threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - self._ledger.clock()))

    def _run(self) -> None:
        try:
            while self._open_one():
                pass
        finally:
            with self._ledger.mutex:
                self._threads.discard(threading.current_thread())

    def _open_one(self) -> bool:
        """Connect once; True if the next one is wanted of this thread, which is then counted in ``opening``."""
        generation, started = self._begin()
        try:
            connection = self.connect()
        except Exception as exc:  # noqa: BLE001 - whatever it is, those who wait are told
            return self._goes_on_after(exc, started)
        except BaseException:
            with self._ledger.mutex:
                self._ledger.opening -= 1
            raise
        self._note_success()
        return self._hand_over(connection, generation, keep_one=True)

    def _goes_on_after(self, exc: Exception, started: float) -> bool:
        """Whether this thread is the one that goes on trying; then it has paused."""
        goes_on = False

        def decide_locked(failure: ConnectFailure) -> None:
            # In the same breath as the failure: callers whom it woke must not count on this thread once more.
            nonlocal goes_on
            ledger = self._ledger
            goes_on = ledger.state is OPEN and not failure.fatal and ledger.opening == 1 and not self.is_forgotten
            if not goes_on:
                ledger.opening -= 1

        self._note_failure(exc, started, decide_locked)
        if goes_on:
            self._pause()
        return goes_on

    def _pause(self) -> None:
        ledger = self._ledger
        self._callers_came.clear()
        with ledger.mutex:
            pause = ledger.health.pause(awaited=bool(ledger.waiters))
        self._callers_came.wait(pause - RETRY_INTERVAL)
        self.closing.wait(RETRY_INTERVAL)

    def _hand_over(self, connection: Any, generation: int, *, keep_one: bool = False) -> bool:
        """Offer a fresh connection; with ``keep_one`` True means that the caller shall open the next one."""
        ledger = self._ledger
        slot = Slot(generation)
        with ledger.mutex:
            self._adopt_locked(slot, connection)
            reason = ledger.reason_against_locked(slot)
            ledger.opening -= 1
            if reason is None:
                ledger.offer_locked(slot)
            else:
                ledger.counters["closed"] += 1
                ledger.counters[reason] += 1
            count = ledger.spread_locked()
        if reason is not None:
            self._driver.close(connection)
        self.start(count - 1 if keep_one else count)
        return keep_one and count > 0

    # -------------------------------------------------------------------------------------------------- books

    def _begin(self) -> tuple[int, float]:
        """The generation that a connection begun now belongs to, and the time."""
        with self._ledger.mutex:
            return self._ledger.generation, self._ledger.clock()

    def _adopt_locked(self, slot: Slot, connection: Any) -> None:
        ledger = self._ledger
        ledger.counters["opened"] += 1
        now = ledger.clock()
        slot.adopt(connection, self._driver.fileno(connection), now=now, lifetime=ledger.lifetime())
        slot.prove(now, ledger.options.ping_after)

    def _note_success(self) -> None:
        with self._ledger.mutex:
            is_back = self._ledger.health.note_success()
        self._events.tell(PoolEventKind.OPENED, "opened a connection")
        if is_back:
            self._events.tell(PoolEventKind.UP, "the database answers again")

    def _note_failure(
        self, exc: Exception, started: float, then_locked: Callable[[ConnectFailure], None] | None = None
    ) -> ConnectFailure:
        ledger = self._ledger
        ours = isinstance(exc, PoolError)  # on_connect or the password function
        failure = ConnectFailure(str(exc), fatal=True) if ours else self._driver.explain(exc)
        with ledger.mutex:
            ledger.connect_failed_locked(started, exc, failure.detail, fatal=failure.fatal)
            if then_locked is not None:
                then_locked(failure)
            now, health = ledger.clock(), ledger.health
            kind = PoolEventKind.DOWN if health.failures == 1 else PoolEventKind.STILL_DOWN
            told, down_for = health.is_due_for_reminder(now), health.down_for(now)
            unavailable = health.becomes_unavailable(now)
        self._limits.forget()
        if told:
            since = f" (away for {down_for:.0f} s)" if kind is PoolEventKind.STILL_DOWN else ""
            self._events.tell(kind, failure.detail + since)
        if unavailable:
            self._events.tell(
                PoolEventKind.UNAVAILABLE, f"away for {down_for:.0f} s, and still tried: {failure.detail}"
            )
        return failure
