"""PING on Twisted: ``python twisted_ping.py PORT``."""

# No types are checked here: its reactor is a module that is replaced at run time.
# mypy: ignore-errors
from __future__ import annotations

import sys

from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver


class Ping(LineReceiver):
    """One connection."""

    delimiter = b"\r\n"

    def connectionMade(self) -> None:
        """See Protocol."""
        self.transport.setTcpNoDelay(True)

    def lineReceived(self, line: bytes) -> None:
        """See LineReceiver."""
        self.sendLine(b"+PONG")


if __name__ == "__main__":
    reactor.listenTCP(int(sys.argv[1]), Factory.forProtocol(Ping), backlog=1024, interface="127.0.0.1")
    reactor.run()
