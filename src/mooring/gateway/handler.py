"""What the gateway does with a device's messages."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, cast

from ..errors import ConnectionClosed, FrameError, PoolBusy, PoolError
from ..handler import ConnectionHandler, Reply
from ..net.connection.connection import Connection
from ..net.connection.life import CloseReason
from ..threads import Pending
from .checks import check_all
from .codec import Codec, Session
from .errors import ErrorCode, ProtocolError, refusal
from .messages import (
    LARGEST_SEQ,
    LONGEST_TEXT,
    VERSION,
    Ack,
    Bye,
    Done,
    Error,
    FromDevice,
    Hello,
    Ping,
    Pong,
    Pull,
    Push,
    ToDevice,
    Upload,
    Version,
    Welcome,
)
from .roll_call import REPLACED_RETRY_AFTER
from .store import TooManyDevices, Unauthorized, Unavailable
from .tables.devices import Login
from .tables.pushes import CONFLICT, NEW, Stored, rows_of
from .transfers import read_block, take_block, tell_version
from .visits import Visit

if TYPE_CHECKING:
    from .server import Gateway

TRY_AGAIN: Final = "the database is not available; send it again later"
"""What the database itself said is for the log: a device has no use for it, and it may name hosts and tables."""


class DeviceHandler(ConnectionHandler):
    """Serves one connection: hello first, then everything else.

    A push waits for nothing: its answer is pending until the commit. The other messages that need the database or the
    disk wait for it, so the server runs them where waiting holds up nobody.

    Attributes:
        refusals: messages that were answered with an error; the lock of the gateway's counters guards it.
    """

    refusals = 0

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._gateway: Gateway = connection.server
        self._codec: Codec = self._gateway.codec
        self._session = Session()
        self._visit: Visit | None = None
        self._has_spoken = False
        self._has_conflicted = False

    def received(self, message: bytes) -> Reply:
        """See ConnectionHandler."""
        if self._visit is None and self._is_late():
            return None
        first, self._has_spoken = not self._has_spoken, True
        decoded: FromDevice | None = None
        try:
            decoded = self._codec.decode(message, self._session)
            if decoded is None:
                return None
            if not self._gateway.codec_checks_itself:
                check_all(decoded)
            if isinstance(decoded, Push):
                return cast(Reply, self._push(decoded))
            answer = self._answer(decoded)
        except ProtocolError as exc:
            if exc.of == "done" and exc.id is not None and exc.code in (ErrorCode.BAD_JSON, ErrorCode.BAD_MESSAGE):
                self._record_refused(exc.id, exc.detail)
            return self._refuse(exc, closes=first and exc.code is ErrorCode.BAD_JSON)
        except Unavailable as exc:
            assert decoded is not None
            return self._refuse(self._unavailable(exc, decoded))
        return self._codec.encode(answer, self._session) if answer is not None else None

    def malformed(self, error: FrameError) -> Reply:
        """See ConnectionHandler."""
        limit = getattr(self._codec.framing, "max_size", None)
        too_large = limit is not None and self._gateway.codec_checks_itself
        detail = f"a line has at most {limit} bytes" if too_large else str(error)
        code = ErrorCode.TOO_LARGE if too_large else ErrorCode.BAD_MESSAGE
        return self._refuse(ProtocolError(code, detail), is_ending=True)  # the engine closes

    def lost(self, reason: CloseReason) -> None:
        """See ConnectionHandler."""
        if self._visit is not None:
            self._gateway.presence.seen(self._visit.device, self.connection.last_received_at)
            self._gateway.dispatcher.left(self._visit)

    def _answer(self, message: FromDevice) -> ToDevice | None:
        if isinstance(message, Hello):
            return self._hello(message)
        if isinstance(message, Ping):
            return Pong()
        if isinstance(message, Bye):
            self.connection.close("the device said bye")
            return None
        if isinstance(message, Done):
            return self._done(message)
        if isinstance(message, Upload):
            visit = self._visit_of(message)
            return take_block(self._gateway.store.uploads, visit.device, message, time.time())
        if isinstance(message, Version):
            self._visit_of(message)
            return tell_version(self._gateway.files, message)
        if isinstance(message, Pull):
            self._visit_of(message)
            return read_block(self._gateway.files, message)
        return None

    def _is_late(self) -> bool:
        """Whether nobody has logged in for too long, whatever else was said: else pings alone would hold a place."""
        limit = self._gateway.login_timeout
        if limit is None or time.monotonic() < self.connection._connected + limit:
            return False
        detail = f"no hello within {limit:g} s (first_message_timeout)"
        self.connection.end(CloseReason.FIRST_MESSAGE, detail, dropping=True)
        return True

    def _visit_of(self, message: FromDevice) -> Visit:
        if self._visit is None:
            detail = 'say who you are first: {"op":"hello","device":"…"}'
            raise refusal(ErrorCode.HELLO_FIRST, detail, message)
        return self._visit

    def _refuse(self, exc: ProtocolError, *, closes: bool = False, is_ending: bool = False) -> bytes | None:
        code = exc.code
        self._gateway.note_refusal(self, exc)
        error = Error(
            of=exc.of,
            seq=exc.seq,
            name=exc.name,
            id=exc.id,
            code=code.code,
            retry=code.retry,
            detail=exc.detail,
            versions=(VERSION,) if code is ErrorCode.UNSUPPORTED_VERSION else None,
        )
        said = self._codec.encode(error, self._session)
        # A device that cannot be told to send something again is made to come again.
        unsaid = said is None and (code.retry or code is ErrorCode.HELLO_FIRST)
        if (closes or code.closes or unsaid) and not is_ending:
            self.connection.close(str(exc))
        return said

    def _unavailable(self, exc: BaseException, message: FromDevice) -> ProtocolError:
        error = refusal(ErrorCode.UNAVAILABLE, TRY_AGAIN, message)
        self._gateway.rare.log(
            logging.ERROR, "unavailable", "%r: %s was not stored: %s", self.connection, error.of, exc
        )
        return error

    # hello ----------------------------------------------------------------------------------------------------------

    def _hello(self, hello: Hello) -> Welcome | None:
        if self._visit is not None:
            detail = f"this connection is {self._visit.device.name!r} already; one connection, one device"
            raise refusal(ErrorCode.ALREADY_HELLO, detail, hello)
        if hello.v < VERSION:
            detail = f"the gateway speaks version {VERSION} only"
            raise refusal(ErrorCode.UNSUPPORTED_VERSION, detail, hello)
        login = self._log_in(hello)
        self._respect_pause(hello)
        visit = Visit(login.device, self.connection, self._codec, self._session)
        if not self._take_name(visit) or not self._gateway.presence.connected(visit, login.connected_at):
            return None
        self._gateway.dispatcher.arrived(visit, has_commands=login.has_commands)
        return self._gateway.welcome(login, time.time())

    def _log_in(self, hello: Hello) -> Login:
        gateway = self._gateway
        try:
            if gateway.auth == "token":
                return gateway.store.devices.authenticate(hello.device, hello.token)
            if gateway.auth == "certificate":
                self._check_certificate(hello.device)
            return gateway.store.devices.log_in(hello.device, time.time(), gateway.most_devices)
        except (TooManyDevices, Unauthorized) as exc:
            if isinstance(exc, Unauthorized):
                self.connection.strike("login")
            raise refusal(ErrorCode.UNAUTHORIZED, str(exc), hello) from exc

    def _check_certificate(self, name: str) -> None:
        certificate = self.connection.peer_certificate
        if certificate is None:
            raise Unauthorized("devices log in by a certificate here; connect to the tls:// address, and with one")
        if name not in certificate.names:
            raise Unauthorized(f"the certificate is not that of {name!r}: it has other names")

    def _respect_pause(self, hello: Hello) -> None:
        """A name that changes hands all the time stays with whoever has it for a while."""
        older = self._gateway.connections.get(hello.device)
        is_here = older is not None and older.close_reason is None
        pause = self._gateway.takeovers.pause(hello.device, is_here=is_here)
        if pause:
            detail = f"another device is {hello.device!r} and logs in again and again; wait {pause:.0f} s"
            raise refusal(ErrorCode.BUSY, detail, hello)

    def _take_name(self, visit: Visit) -> bool:
        """Become this device; the connection that was it until now is told and closed."""
        name = visit.device.name
        older = self._gateway.connections.get(name)
        leaving = older if older is not None and older.close_reason is not None else None
        if older is not None and older is not self.connection and isinstance(older.session, Visit):
            older.session.say_bye("replaced", REPLACED_RETRY_AFTER)
        self._visit = self.connection.session = visit
        self._session.device = name
        try:
            replaced = self.connection.identify(name)
        except ConnectionClosed:
            return False  # this one has gone meanwhile
        if replaced is not None and replaced is not leaving:
            self._gateway.note_takeover(replaced, self.connection)
        return True

    # push -----------------------------------------------------------------------------------------------------------

    def _push(self, push: Push) -> Pending[bytes | None]:
        visit = self._visit or self._visit_of(push)
        return self._gateway.writer.add(rows_of(visit.device, push, time.time()), push, self)

    def stored(self, push: Push, stored: Stored) -> bytes | None:
        """See Answering."""
        if stored is CONFLICT:
            self._warn_of_conflict(push.seq)
            detail = f"something else with seq {push.seq} is stored already; go on above last_seq of the welcome"
            if push.batch is not None:
                detail = f"something else is stored already among seq {push.seq} to {push.last_seq}; none was taken"
            return self._refuse(refusal(ErrorCode.CONFLICT, detail, push))
        count, last = (1, push.seq) if push.batch is None else (len(push.batch), push.last_seq)
        self._gateway.counters.add("new" if stored is NEW else stored.value, count)
        return self._codec.encode(Ack(last), self._session)

    def not_stored(self, push: Push, exc: BaseException) -> bytes | None:
        """See Answering."""
        if isinstance(exc, PoolBusy):
            return self._refuse(refusal(ErrorCode.BUSY, "too much waits to be stored; send it again later", push))
        if not isinstance(exc, Unavailable | PoolError | self._gateway.store.database.pool.Error):
            self._gateway.rare.log(logging.ERROR, "push", "%r: storing a push failed", self.connection, exc_info=exc)
        return self._refuse(self._unavailable(exc, push))

    def _warn_of_conflict(self, seq: int) -> None:
        """Once for each connection: a counter that began again gives one conflict after the other."""
        if not self._has_conflicted:
            self._has_conflicted = True
            self._gateway.rare.log(
                logging.WARNING,
                "conflict",
                "%r sent another push with seq %d, which is stored already: did its counter begin again?",
                self.connection,
                seq,
            )

    # commands -------------------------------------------------------------------------------------------------------

    def _done(self, done: Done) -> Ack:
        visit = self._visit_of(done)
        result = None if done.error is not None else bytes(done.result).decode() or "null"
        known = self._gateway.store.commands.finish(done.id, visit.device.id, time.time(), result, done.error)
        if not known:
            raise refusal(ErrorCode.UNKNOWN_NAME, f"this device has no command {done.id}", done)
        self._gateway.counters.add("done")
        self._gateway.dispatcher.answered(visit, done.id)
        return Ack(id=done.id)

    def _record_refused(self, number: int, detail: str) -> None:
        """An answer to a command that can never be taken: the device puts it aside, so it must not wait for another."""
        if self._visit is None or not 0 < number <= LARGEST_SEQ:
            return
        error = f"the device's answer was refused: {detail}"[:LONGEST_TEXT]
        try:
            known = self._gateway.store.commands.finish(number, self._visit.device.id, time.time(), None, error)
        except Unavailable:
            return  # it is sent again by the next connection
        if known:
            self._gateway.dispatcher.answered(self._visit, number)
