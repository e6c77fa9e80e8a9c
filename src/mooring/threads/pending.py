"""``Pending``: a result that comes later, light enough for one per message; and many that come at once."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, cast

from .blocking import about_to_block

logger = logging.getLogger("mooring.threads")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")

STRIPES = [threading.Lock() for _ in range(64)]
"""Shared by all: a lock of its own would cost each object more than everything else it has."""

WAITING = object()


class Pending(Generic[T_co]):
    """One result or one error, and those who want to hear of it. From any thread.

    It has neither a Condition nor a lock of its own: a few stripes, shared by all and chosen by identity, guard
    ``_value``, ``_error`` and ``_listeners``. Listeners are called outside them.

    A handler may return one: its answer is sent when the result is there, and meanwhile no thread is occupied.
    """

    __slots__ = ("__weakref__", "_error", "_listeners", "_value")

    def __init__(self) -> None:
        self._value: Any = WAITING
        self._error: BaseException | None = None
        self._listeners: tuple[Callable[[Pending[Any]], None], ...] = ()

    def result(self, timeout: float | None = None) -> T_co:
        """Wait for the result; counts as ``blocking()``.

        Args:
            timeout: seconds; None: no limit.

        Raises:
            TimeoutError: it is not there yet.
            BaseException: the error, if it failed.
        """
        if self._value is WAITING and not self._wait(timeout):
            raise TimeoutError(f"no result within {timeout:g} s")
        if self._error is not None:
            raise self._error
        return cast(T_co, self._value)

    def _wait(self, timeout: float | None) -> bool:
        about_to_block()
        baton = threading.Lock()
        baton.acquire()
        self.add_done_callback(lambda _: baton.release())
        return baton.acquire(timeout=-1 if timeout is None else max(0.0, timeout))

    def done(self) -> bool:
        """Whether the result, or the error, is there."""
        return self._value is not WAITING

    def add_done_callback(self, function: Callable[[Pending[Any]], None], /) -> None:
        """Call ``function(self)`` when it is done, or now if it is; in the thread that completes it.

        It must be quick. If it raises, that is logged.
        """
        stripe = STRIPES[id(self) >> 5 & 63]
        stripe.acquire()  # not `with`, whose end takes as long in CPython 3.11 as all of this
        try:
            if self._value is WAITING:
                self._listeners += (function,)
                return
        finally:
            stripe.release()
        self._call(function)

    def then(self, function: Callable[[T_co], U], error: Callable[[BaseException], U] | None = None) -> Pending[U]:
        """A Pending of what ``function`` makes of the result.

        Args:
            function: gets the result; quick, as it runs in the thread that completes this one.
            error: gets the error instead, and its result counts as success; without it the error is passed on.

        Returns:
            A new Pending; if ``function`` or ``error`` raises, it fails with that.
        """
        following: Pending[U] = Pending()

        def go_on(done: Pending[Any]) -> None:
            try:
                if done._error is None:
                    following.complete(function(done._value))
                elif error is not None:
                    following.complete(error(done._error))
                else:
                    following.fail(done._error)
            except BaseException as exc:  # noqa: BLE001 - whatever it is, it belongs to whoever waits
                following.fail(exc)

        self.add_done_callback(go_on)
        return following

    @staticmethod
    def all(*pendings: Pending[Any]) -> Pending[list[Any]]:
        """A Pending of all results in order; it fails with the first error, when all are done.

        The parts stay independent: one may have succeeded though another failed.
        """
        whole: Pending[list[Any]] = Pending()
        left = [len(pendings)]
        lock = threading.Lock()

        def count(_: Pending[Any]) -> None:
            with lock:
                left[0] -= 1
                last = left[0] == 0
            if last:
                finish()

        def finish() -> None:
            errors = [pending._error for pending in pendings if pending._error is not None]
            if errors:
                whole.fail(errors[0])
            else:
                whole.complete([pending._value for pending in pendings])

        if not pendings:
            finish()
        for pending in pendings:
            pending.add_done_callback(count)
        return whole

    # For those who make one -----------------------------------------------------------------------------------------

    def complete(self, value: Any) -> None:
        """The result is there; listeners are called now, in this thread.

        Raises:
            RuntimeError: it was done already.
        """
        self._finish(value, None)

    def fail(self, error: BaseException) -> None:
        """There will be no result, for this reason; listeners are called now, in this thread.

        Raises:
            RuntimeError: it was done already.
        """
        self._finish(None, error)

    def _finish(self, value: Any, error: BaseException | None) -> None:
        for function in self._settle(value, error):
            self._call(function)

    def _settle(self, value: Any, error: BaseException | None) -> tuple[Callable[[Pending[Any]], None], ...]:
        """Set the result; returns the listeners, which are still to be called."""
        stripe = STRIPES[id(self) >> 5 & 63]
        stripe.acquire()
        try:
            if self._value is not WAITING:
                raise RuntimeError("this Pending is done already")
            self._error = error
            self._value = value  # last: who reads without the stripe sees it with its error
            listeners, self._listeners = self._listeners, ()
        finally:
            stripe.release()
        return listeners

    def _call(self, function: Callable[[Pending[Any]], None]) -> None:
        try:
            function(self)
        except Exception:
            logger.exception("a callback of a Pending raised")

    def __repr__(self) -> str:
        if self._value is WAITING:
            return "<Pending>"
        return f"<Pending failed: {self._error!r}>" if self._error is not None else "<Pending done>"


class Derived(Pending[T]):
    """What ``Pending().then(…)`` is, in one object instead of two: for those who have very many of them.

    Args:
        make: makes the result of the error, or of None for success; quick, as it runs in the thread that completes
            this one, and before any listener of its batch. If it raises, this fails with that.
    """

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[BaseException | None], T]) -> None:
        self._value: Any = WAITING
        self._error: BaseException | None = None
        self._listeners: tuple[Callable[[Pending[Any]], None], ...] = ()
        self._make: Callable[[BaseException | None], T] | None = make

    def _settle(self, value: Any, error: BaseException | None) -> tuple[Callable[[Pending[Any]], None], ...]:
        make, self._make = self._make, None
        if make is not None:
            try:
                value, error = make(error), None
            except BaseException as exc:  # noqa: BLE001 - whatever it is, it belongs to whoever waits
                value, error = None, exc
        return Pending._settle(self, value, error)


class _Batch(threading.local):
    after: dict[Callable[[], object], None] | None = None


_batch = _Batch()


def complete_together(
    pendings: Iterable[Pending[Any]], value: Any = None, *, error: BaseException | None = None
) -> None:
    """Give many the same result, or the same error, in two passes: all results are set, then listeners are called.

    So whoever listens to one of them finds the others done. What listeners put off by ``after_batch`` comes last.
    Nothing that a listener raises keeps the others from being called.

    Args:
        pendings: those to complete; none of them may be done already.
        value: their result.
        error: the reason why there will be none.
    """
    _deliver([(pending, function) for pending in pendings for function in pending._settle(value, error)])


def settle_together(outcomes: Iterable[tuple[Pending[Any], BaseException | None]]) -> None:
    """The same for many that end differently: with the result None, or with an error of their own.

    Args:
        outcomes: each with its error, or None for success.
    """
    _deliver([(pending, function) for pending, error in outcomes for function in pending._settle(None, error)])


def _deliver(calls: list[tuple[Pending[Any], Callable[[Pending[Any]], None]]]) -> None:
    """The second pass."""
    outer, _batch.after = _batch.after, {}
    for pending, function in calls:
        try:
            function(pending)
        except BaseException:  # SystemExit of one listener is not the end of all others
            logger.exception("a callback of a Pending raised")
    after, _batch.after = _batch.after, outer
    for put_off in after:
        try:
            put_off()
        except BaseException:
            logger.exception("what a callback of a Pending had put off raised")


def after_batch(function: Callable[[], object]) -> None:
    """Call ``function()`` when the listeners of the present batch are through; now, if there is no batch.

    One that is put off several times, by its ``==``, is called once: a connection that gets many replies of one batch
    sends them together.
    """
    after = _batch.after
    if after is None:
        function()
    else:
        after[function] = None


def _renew_stripes() -> None:
    """In a forked child: another thread of the parent may have held one."""
    STRIPES[:] = [threading.Lock() for _ in STRIPES]


os.register_at_fork(after_in_child=_renew_stripes)
