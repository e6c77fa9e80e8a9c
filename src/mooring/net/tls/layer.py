"""``TLSSocket``: stands where a connection's socket stands, and speaks TLS.

The engine reads, writes and closes it like any other. What differs is inside: OpenSSL works on two buffers in memory
and never sees the socket (``ssl.SSLObject`` on ``MemoryBIO``).

    recv:  kernel --bytes--> incoming --OpenSSL--> plain bytes
    send:  plain bytes --OpenSSL--> outgoing --bytes--> kernel

OpenSSL's object must not be used by two threads at once, and one thread may read a connection while another writes it:
``_lock`` is held for each call of OpenSSL, which only computes, and never for a call of the socket. Records must leave
in the order in which they were made, also those that OpenSSL makes while reading (alerts, answers to key updates): who
has set ``_sending`` (under the lock) owns ``_unsent`` and alone takes bytes out of ``outgoing``.

``send`` counts plain bytes as sent when the kernel has taken all of their record, and not before. So the engine's
outbox holds them until then, its deadlines see a peer that takes nothing, and it comes again with the same bytes, as it
does for a plain socket; those that are in a record already are passed over then (``_ahead``).
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, Final

from .context import PeerCertificate, read_peer_certificate
from .records import HANDSHAKE, RECORD, Records

HANDSHAKE_SIZE: Final = 4096
"""Bytes that are read at a time in a handshake: most of what is said in it is shorter."""

MOST_ANSWERS: Final = 65536
"""Bytes that OpenSSL may want to say by itself while the peer takes nothing; one that asks for more is broken off."""

DONT_WAIT: Final = socket.MSG_DONTWAIT

NOT_SAID = "its end came without TLS's close_notify: the last bytes may be missing"


class NoTLS(Exception):
    """What came first is no TLS.

    Args:
        data: the first bytes of it.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class NothingYet(BlockingIOError):
    """Bytes came, but nothing to read in the clear: the peer is alive.

    Attributes:
        record_begun: a record has begun and is not complete.
    """

    def __init__(self, *, record_begun: bool) -> None:
        super().__init__(errno.EAGAIN, "nothing in the clear yet")
        self.record_begun = record_begun


class TLSSocket:
    """See the module. Before anything else ``shake_hands`` is called until it returns 0, by one thread.

    Args:
        sock: connected and non-blocking; it belongs to this from here on.
        context: the server's.

    Attributes:
        family: of the socket behind.
        end_detail: how the peer's end was special, for the log.
    """

    __slots__ = (
        "_ahead", "_certificate", "_ended", "_holds_bytes", "_incoming", "_lock", "_outgoing", "_owner", "_peer",
        "_records", "_said_end", "_sending", "_ssl", "_tell", "_unsent", "behind", "end_detail", "family",
    )  # fmt: skip

    def __init__(self, sock: Any, context: ssl.SSLContext) -> None:
        self.behind = sock
        self.family: int = sock.family
        self._peer = sock.getpeername()  # which a socket that was reset does not know any more
        self.end_detail = ""
        self._lock = threading.Lock()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl: ssl.SSLObject | None = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._records = Records()
        self._certificate: PeerCertificate | None = None
        self._unsent: bytes | memoryview = b""
        self._ahead = 0
        self._sending = False
        self._said_end = False
        self._holds_bytes = False
        self._ended: OSError | bool = False
        self._owner: Any = None
        self._tell: Callable[[Any], None] | None = None

    @property
    def announced(self) -> Any:
        """The address that a load balancer has announced, if it has; see ``AnnouncedSocket``."""
        return self.behind.announced

    # What there is beside a socket ----------------------------------------------------------------------------------

    def belong_to(self, owner: Any, tell: Callable[[Any], None]) -> None:
        """Have ``tell(owner)`` called when there is something to read of which the descriptor will not tell."""
        self._owner = owner
        self._tell = tell
        self._peer = None  # it has asked

    def has_more(self) -> bool:
        """Whether there is something to read of which the descriptor will not tell."""
        return self._holds_bytes or self._ended is not False

    @property
    def peer_certificate(self) -> PeerCertificate | None:
        """What the peer has proved to be; None if it was not asked. From any thread."""
        with self._lock:
            if self._certificate is None and self._ssl is not None:
                self._certificate = read_peer_certificate(self._ssl)
            return self._certificate

    @property
    def version(self) -> str:
        """Such as "TLSv1.3"; empty once the socket is closed."""
        with self._lock:
            return (self._ssl.version() if self._ssl is not None else None) or ""

    # The handshake --------------------------------------------------------------------------------------------------

    def shake_hands(self) -> int:
        """Go as far as possible without waiting.

        Returns:
            What to wait for: EPOLLIN or EPOLLOUT; 0: the handshake is done, and all that belongs to it has left.

        Raises:
            ssl.SSLError: it failed; the peer has been told why.
            NoTLS: what came first is no TLS.
            EOFError: the peer is gone. OSError: the connection broke.
        """
        handshaken = self._ssl
        assert handshaken is not None
        while True:
            try:
                handshaken.do_handshake()
            except ssl.SSLWantReadError:
                if not self._leave():
                    return select.EPOLLOUT
            except ssl.SSLError:
                self._leave()  # the alert
                raise
            else:
                return self._begin()
            try:
                data = self.behind.recv(HANDSHAKE_SIZE)
            except BlockingIOError:
                return select.EPOLLIN
            if not data:
                raise EOFError
            if not self._records.have_come and data[0] != HANDSHAKE:
                raise NoTLS(data[:16])
            self._records.add(data)
            self._incoming.write(data)

    def _begin(self) -> int:
        """The handshake is done, but for a ticket that may have to leave, and the first messages may be here."""
        try:
            if not self._leave():
                return select.EPOLLOUT
        except OSError:
            pass  # a client that has said all and is gone already: what it said counts, as on a plain connection
        self._holds_bytes = bool(self._incoming.pending)
        return 0

    # Reading --------------------------------------------------------------------------------------------------------

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As ``socket.recv``: one read of the kernel, and all that can be read in the clear after it.

        That may be a record more than ``size``: what was left over would be told of by nobody.

        Raises:
            NothingYet: what came is nothing to read, such as a part of a record.
            BlockingIOError: nothing came.
            OSError: the connection broke, or what came is no TLS.
        """
        if flags or self._said_end:
            # To look whether there is anything; or after our own end, when what comes is counted and dropped.
            return self.behind.recv(size, flags)  # type: ignore[no-any-return]
        if self._holds_bytes:
            self._holds_bytes = False
            plain = self._read(b"")
            if plain:
                return self._told(plain)
        if self._ended:
            return self._end()
        data = self.behind.recv(size)
        if not data:
            self.end_detail = NOT_SAID
            self._ended = True
            return b""
        plain = self._read(data)
        if plain:
            return self._told(plain)
        if self._ended:
            return self._end()
        raise NothingYet(record_begun=self._records.has_begun)

    def _told(self, plain: bytes) -> bytes:
        """The end came right behind: nobody else will tell of it."""
        if self._ended and self._tell is not None:
            self._tell(self._owner)
        return plain

    def _end(self) -> bytes:
        if isinstance(self._ended, OSError):
            raise self._ended
        return b""

    def _read(self, data: bytes) -> bytes:
        """Give OpenSSL what came, take out what is in the clear, and let it say what it has to say."""
        pieces: list[bytes] = []
        self._records.add(data)
        with self._lock:
            if len(data) <= RECORD:
                self._decrypt_locked(data, pieces)
            else:
                view = memoryview(data)
                for start in range(0, len(data), RECORD):
                    self._decrypt_locked(view[start : start + RECORD], pieces)
            answers = self._outgoing.pending
        if answers:
            self._answer()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _decrypt_locked(self, data: bytes | memoryview, pieces: list[bytes]) -> None:
        incoming, handshaken = self._incoming, self._ssl
        if self._ended or handshaken is None:
            return
        incoming.write(data)
        try:
            while incoming.pending:  # OpenSSL keeps nothing back: a read takes as much as a record can hold
                piece = handshaken.read(RECORD)
                if not piece:
                    self._ended = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._ended = True
        except ssl.SSLError as exc:
            self._ended = ConnectionAbortedError(errno.ECONNABORTED, f"TLS: {reason_of(exc)}")

    def _answer(self) -> None:
        """Say what OpenSSL has made while reading; if somebody sends just now, it leaves with that."""
        with self._lock:
            if self._sending or self._said_end:
                return
            self._sending = True
        try:
            self._leave(last=True)
        except OSError:
            pass  # who sends or reads next meets it
        with self._lock:
            self._sending = False
            if self._outgoing.pending + len(self._unsent) > MOST_ANSWERS:
                self._ended = ConnectionAbortedError(errno.ECONNABORTED, "TLS: the peer asks and takes no answers")

    # Writing --------------------------------------------------------------------------------------------------------

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        """As ``socket.send``, never waiting. What was not sent must come again, at the beginning of the next call.

        Returns:
            How many bytes the kernel has taken, with all of their records.

        Raises:
            BlockingIOError: it has taken none.
            OSError: the connection broke.
        """
        sent, size = 0, len(data)
        with self._lock:
            if self._sending:  # by the reader, which answers: the loop comes again when the kernel has room
                raise BlockingIOError(errno.EAGAIN, "another thread is sending")
            if not self._ahead:
                self._encrypt_locked(data if size <= RECORD else memoryview(data)[:RECORD])
            self._sending = True
        try:
            while self._leave(last=sent + self._ahead >= size):
                sent += self._ahead
                self._ahead = 0
                if sent >= size:
                    return sent
                with self._lock:
                    self._encrypt_locked(memoryview(data)[sent : sent + RECORD])
        except BaseException:
            self._sending = False
            raise
        self._sending = False  # the kernel is full, and whoever comes next begins with what is left
        if not sent:
            raise BlockingIOError(errno.EAGAIN, "the kernel takes no more")
        return sent

    def _encrypt_locked(self, piece: bytes | memoryview) -> None:
        if self._ssl is None:
            raise OSError(errno.EBADF, "the socket is closed")
        try:
            self._ahead = self._ssl.write(piece)
        except ssl.SSLError as exc:
            raise ConnectionAbortedError(errno.ECONNABORTED, f"TLS: {reason_of(exc)}") from None
        if not self._unsent:
            self._unsent = self._outgoing.read()

    def _leave(self, *, last: bool = False) -> bool:
        """The owner of what leaves gives it to the kernel; after the last of it, it is the owner no more.

        Returns:
            False: the kernel is full.
        """
        while True:
            unsent = self._unsent
            if unsent:
                try:
                    sent = self.behind.send(unsent, DONT_WAIT)
                except BlockingIOError:
                    return False
                self._unsent = b"" if sent == len(unsent) else memoryview(unsent)[sent:]
                if self._unsent:
                    continue
            with self._lock:
                if not self._outgoing.pending:
                    if last:  # in one step with the look: what the reader makes after it, the reader sends
                        self._sending = False
                    return True
                self._unsent = self._outgoing.read(RECORD)

    # The rest of a socket -------------------------------------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        """As ``socket.shutdown``; before our side is shut the peer is told so by close_notify, if that is possible.

        Raises:
            BlockingIOError: the kernel has no room for it now; only for SHUT_WR.
            OSError: the connection is gone.
        """
        if how != socket.SHUT_RD and not self._say_end() and how == socket.SHUT_WR:
            raise BlockingIOError(errno.EAGAIN, "no room for close_notify")
        self.behind.shutdown(how)

    def _say_end(self) -> bool:
        """Send close_notify, once. False: it could not leave yet."""
        with self._lock:
            if self._sending:
                return False
            if not self._said_end:
                if self._ahead or self._ssl is None:
                    return True  # in the middle of a record that will never be complete
                self._said_end = True
                try:
                    self._ssl.unwrap()
                except ssl.SSLError:
                    pass  # it wants to read the peer's; or there is nothing to be said any more
            self._sending = True
        try:
            return self._leave()
        except OSError:
            return True  # the peer is gone
        finally:
            self._sending = False

    def close(self) -> None:
        """Close the descriptor, without a word, and forget the owner. Only when no other thread uses this."""
        self._owner = self._tell = self._ssl = None
        self.behind.close()

    def getpeername(self) -> Any:
        """See ``socket.getpeername``."""
        return self.behind.getpeername() if self._peer is None else self._peer

    def fileno(self) -> int:
        """See ``socket.fileno``."""
        return self.behind.fileno()  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


def reason_of(exc: ssl.SSLError) -> str:
    """What OpenSSL complains of, in words."""
    return (exc.reason or exc.strerror or str(exc)).lower().replace("_", " ")
