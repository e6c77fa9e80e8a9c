"""Quick and slow calls on Twisted, the slow ones by deferToThread: ``python twisted_mixed.py PORT``."""

# No types are checked here: its reactor is a module that is replaced at run time.
# mypy: ignore-errors
from __future__ import annotations

import sys
import time

from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.internet.threads import deferToThread
from twisted.protocols.basic import LineReceiver


def wait() -> bytes:
    """A handler that waits, as for a database."""
    time.sleep(0.005)
    return b"+DONE"


def compute(rounds: int) -> bytes:
    """A handler that computes."""
    total = 0
    for number in range(rounds):
        total += number
    return b"+DONE"


class Mixed(LineReceiver):
    """One connection."""

    delimiter = b"\r\n"

    def connectionMade(self) -> None:
        """See Protocol."""
        self.transport.setTcpNoDelay(True)

    def lineReceived(self, line: bytes) -> None:
        """See LineReceiver."""
        if line.startswith(b"SLOW"):
            deferToThread(wait).addCallback(self.sendLine)
        elif line.startswith(b"CPU"):
            deferToThread(compute, int(line[4:])).addCallback(self.sendLine)
        else:
            if line.startswith(b"PING surprise"):
                time.sleep(0.1)
            self.sendLine(b"+PONG")


if __name__ == "__main__":
    reactor.listenTCP(int(sys.argv[1]), Factory.forProtocol(Mixed), backlog=1024, interface="127.0.0.1")
    reactor.run()
