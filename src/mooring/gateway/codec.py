"""What puts the gateway behind a protocol of another kind: a codec, and the session it keeps its state in."""

from __future__ import annotations

from typing import Any, Protocol

from ..framing import Framing
from ..heartbeat import Heartbeat
from .messages import FromDevice, ToDevice


class Session:
    """What the gateway and its codec know of one connection. Used by one thread at a time, but for ``device``.

    Attributes:
        device: the name by which the device has logged in; None before.
        state: the codec's own, None at first: a serial number, a device's number, whatever an answer needs.
    """

    __slots__ = ("device", "state")

    def __init__(self) -> None:
        self.device: str | None = None
        self.state: Any = None


class Codec(Protocol):
    """Turns the messages of a protocol into the gateway's, and its answers back. One object serves all connections.

    JSON lines is one; ``mooring serve --codec module:attribute`` and ``mooring.gateway.server(codec=…)`` take others.
    What a codec decodes is checked as strictly as JSON lines is, so no mistake of it reaches the database.

    Attributes:
        framing: how bytes become messages.
        heartbeat: what keeps a silent connection alive, and when it is given up; None: nothing does.
    """

    @property
    def framing(self) -> Framing:
        """See the class."""

    @property
    def heartbeat(self) -> Heartbeat | None:
        """See the class."""

    def decode(self, message: bytes, session: Session) -> FromDevice | None:
        """Make a Hello, Push, Done, Ping or another message of what a device sent; None: nothing to do.

        A protocol whose serial numbers wrap makes the ``seq`` of a push from the device's time and the serial, so that
        it grows, and is the same when the device sends the push again.

        Raises:
            ProtocolError: it is answered by ``encode`` of that error. FrameError: the connection is closed.
        """

    def encode(self, answer: ToDevice, session: Session) -> bytes | None:
        """Make a message for the device of an answer, a Command or a Bye; None: the protocol has no words for it.

        Answers come in the order of the messages, but an Ack is made when the push is stored, so other messages may
        have been decoded since: take what it needs from its ``seq``. An Error that has no words, and whose message
        might be taken later, closes the connection, so that the device comes again. A Command that has none is recorded
        as failed; so is one for which ValueError is raised.
        """


def check_codec(codec: Any) -> Codec:
    """Refuse what is no codec.

    Raises:
        TypeError: says what is missing.
    """
    if isinstance(codec, type):
        raise TypeError(f"codec is the class {codec.__name__}; it must be an object of it")
    for name in ("decode", "encode"):
        if not callable(getattr(codec, name, None)):
            raise TypeError(f"codec is {codec!r}; it must be an object with framing, heartbeat, decode and encode")
    framing = getattr(codec, "framing", None)
    if not (hasattr(framing, "split") and hasattr(framing, "join")):
        raise TypeError(f"codec.framing is {framing!r}; it must be an object with split and join, such as Lines()")
    if not isinstance(getattr(codec, "heartbeat", None), Heartbeat | None):
        raise TypeError(f"codec.heartbeat is {codec.heartbeat!r}; it must be a Heartbeat or None")
    checked: Codec = codec
    return checked
