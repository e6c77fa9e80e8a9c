"""What the gateway does with a device's messages."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from ..errors import ConnectionClosed, FrameError
from ..handler import ConnectionHandler, Reply
from ..net.connection import CloseReason, Connection
from .errors import ErrorCode, ProtocolError
from .json_lines import MAX_MESSAGE, decode, encode
from .messages import VERSION, Ack, Bye, Error, FromDevice, Hello, Ping, Pong, Push, ToDevice, Welcome
from .store import Device, Stored, TooManyDevices, Unavailable

if TYPE_CHECKING:
    from .server import Gateway

REPLACED_RETRY_AFTER: Final = 60.0
"""Seconds that a replaced device stays away: two devices of one name would push each other out for ever else."""


class DeviceHandler(ConnectionHandler):
    """Serves one connection: hello first, then pushes."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._gateway: Gateway = connection.server
        self._device: Device | None = None
        self._has_spoken = False
        self._has_conflicted = False

    def received(self, message: bytes) -> Reply:
        """See ConnectionHandler."""
        first, self._has_spoken = not self._has_spoken, True
        try:
            answer = self._answer(decode(message))
        except ProtocolError as exc:
            return self._refuse(exc, closes=first and exc.code is ErrorCode.BAD_JSON)
        return encode(answer) if answer is not None else None

    def malformed(self, error: FrameError) -> Reply:
        """See ConnectionHandler."""
        detail = f"a line has at most {MAX_MESSAGE} bytes"
        return self._refuse(ProtocolError(ErrorCode.TOO_LARGE, detail), closes=False)  # the engine closes

    def lost(self, reason: CloseReason) -> None:
        """See ConnectionHandler."""
        if self._device is not None:
            self._gateway.presence.seen(self._device, self.connection.last_received_at)

    def _answer(self, message: FromDevice) -> ToDevice | None:
        if isinstance(message, Push):
            return self._push(message)
        if isinstance(message, Hello):
            return self._hello(message)
        if isinstance(message, Ping):
            return Pong()
        if isinstance(message, Bye):
            self.connection.close("the device said bye")
        return None

    def _refuse(self, exc: ProtocolError, *, closes: bool) -> bytes:
        code = exc.code
        self._gateway.note_refusal(self.connection, exc)
        if closes or code.closes:
            self.connection.close(str(exc))
        versions = (VERSION,) if code is ErrorCode.UNSUPPORTED_VERSION else None
        error = Error(of=exc.of, seq=exc.seq, code=code.code, retry=code.retry, detail=exc.detail, versions=versions)
        return encode(error)

    # hello ----------------------------------------------------------------------------------------------------------

    def _hello(self, hello: Hello) -> Welcome | None:
        if self._device is not None:
            detail = f"this connection is {self._device.name!r} already; one connection, one device"
            raise ProtocolError(ErrorCode.ALREADY_HELLO, detail, of="hello")
        if hello.v < VERSION:
            detail = f"the gateway speaks version {VERSION} only"
            raise ProtocolError(ErrorCode.UNSUPPORTED_VERSION, detail, of="hello")
        now = time.time()
        try:
            device, last_seq = self._gateway.store.log_in(hello.device, now, self._gateway.most_devices)
        except TooManyDevices as exc:
            raise ProtocolError(ErrorCode.UNAUTHORIZED, str(exc), of="hello") from exc
        except Unavailable as exc:
            raise self._unavailable(exc, "hello") from exc
        if not self._take_name(device):
            return None
        self._gateway.presence.connected(device, now)
        return self._gateway.welcome(device, last_seq, now)

    def _take_name(self, device: Device) -> bool:
        """Become this device; the connection that was it until now is told and closed."""
        older = self._gateway.connections.get(device.name)
        if older is not None and older is not self.connection:
            try:
                older.send(encode(Bye(reason="replaced", retry_after=REPLACED_RETRY_AFTER)))
            except ConnectionClosed:
                pass  # it is on its way out by itself
        self.connection.session = self._device = device
        try:
            replaced = self.connection.identify(device.name)
        except ConnectionClosed:
            return False  # this one has gone meanwhile
        if replaced is not None:
            self._gateway.note_takeover(replaced, self.connection)
        return True

    # push -----------------------------------------------------------------------------------------------------------

    def _push(self, push: Push) -> Ack:
        device = self._device
        if device is None:
            detail = 'say who you are before you push: {"op":"hello","device":"…"}'
            raise ProtocolError(ErrorCode.HELLO_FIRST, detail, of="push", seq=push.seq)
        try:
            stored = self._gateway.store.push(device, push, time.time())
        except Unavailable as exc:
            raise self._unavailable(exc, "push", push.seq) from exc
        if stored is Stored.CONFLICT:
            self._warn_of_conflict(push.seq)
            detail = f"another push with seq {push.seq} is stored already; go on above last_seq of the welcome"
            raise ProtocolError(ErrorCode.CONFLICT, detail, of="push", seq=push.seq)
        self._gateway.counters.add(stored.value)
        return Ack(push.seq)

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

    def _unavailable(self, exc: Unavailable, of: str, seq: int | None = None) -> ProtocolError:
        # What the database said is for the log: a device has no use for it, and it may name hosts and tables.
        self._gateway.rare.log(logging.ERROR, "unavailable", "%r: %s was not stored: %s", self.connection, of, exc)
        return ProtocolError(
            ErrorCode.UNAVAILABLE, "the database is not available; send it again later", of=of, seq=seq
        )
