"""A visit: the stay of one device, from its login to the end of its connection."""

from __future__ import annotations

from ..errors import ConnectionClosed, FrameError
from ..net.connection.connection import Connection
from ..net.connection.life import CloseReason
from .codec import Codec, Session
from .messages import Bye, ToDevice
from .tables.devices import Device


class Visit:
    """Made by the handler at the login; others speak to the device by it. Nothing in it changes but ``began`` and
    ``is_written``: once by the login, then by the roll call alone.

    Attributes:
        device: who it is.
        connection: where it is.
        began: when it logged in, in Unix seconds; None until its connection has got the name. It orders the logins of a
            device, so it is later than the clock where an earlier login is; see ``Presence.connected``.
        is_written: the roll call has found this login in the table.
    """

    __slots__ = ("_codec", "_session", "began", "connection", "device", "is_written")

    def __init__(self, device: Device, connection: Connection, codec: Codec, session: Session) -> None:
        self.device = device
        self.connection = connection
        self.began: float | None = None
        self.is_written = False
        self._codec = codec
        self._session = session

    def send(self, message: ToDevice) -> bool:
        """Say something that is no answer; from any thread.

        Returns:
            False: the protocol has no words for it.

        Raises:
            ConnectionClosed: the device is gone.
            ValueError: the codec refuses this message. FrameError: its framing cannot carry it.
        """
        data = self._codec.encode(message, self._session)
        if data is None:
            return False
        self.connection.send(data)
        return True

    def send_away(self, reason: str, retry_after: float) -> None:
        """Tell the device to go, and close its connection.

        Args:
            reason: see Bye.
            retry_after: seconds that it shall stay away.
        """
        self.say_bye(reason, retry_after)
        if reason == "replaced":
            self.connection.end(CloseReason.REPLACED, "the device has logged in at another server", dropping=True)
        else:
            self.connection.close(f"the device was told to go: {reason}")

    def say_bye(self, reason: str, retry_after: float) -> bool:
        """Tell the device that its connection will be closed, as far as its protocol has words for that.

        Returns:
            False: it has none.
        """
        try:
            return self.send(Bye(reason=reason, retry_after=retry_after))
        except ConnectionClosed:
            return True  # it is on its way out by itself
        except (FrameError, ValueError):
            return False
