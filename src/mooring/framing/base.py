"""What a framing is: two methods that turn bytes into messages and back."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Framing(Protocol):
    """Turns the bytes of a connection into messages and messages into bytes.

    Any object with these two methods is a framing. It is one immutable value, shared by every connection and every
    thread, and keeps nothing between calls: what is left over is handed out and comes back with the next bytes.

    Two properties make a framing right; ``mooring.testing.check_framing`` proves them:

    - Any way to cut the input gives the same messages and the same end (rest or error). TCP keeps no borders: a read
      may bring half a message or ten.
    - Whatever the input, the only exception is FrameError.
    """

    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        """Take the complete messages off the front of ``data``.

        Args:
            data: the rest of the call before, followed by the bytes that have arrived since.

        Returns:
            The complete messages in order; the bytes left over, empty between two messages; and the least number of
            further bytes that can complete a message or show a fault, 0 if that is not known. The caller may hold
            back fewer bytes than this, so that a big message is not looked at again for every piece of it.

        Raises:
            FrameError: the input is malformed or longer than allowed. Raised as soon as that is certain; carries the
                messages that were complete before the fault.
        """
        ...

    def join(self, message: bytes) -> bytes:
        """Return the frame that carries ``message``.

        Raises:
            FrameError: no frame can carry this message, because the receiver would read something else.
        """
        ...
