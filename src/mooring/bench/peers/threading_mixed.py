"""Quick and slow calls on ThreadingTCPServer, where nothing has to be done about them: ``threading_mixed.py PORT``."""

from __future__ import annotations

import sys
import time
from socketserver import StreamRequestHandler, ThreadingTCPServer


def compute(rounds: int) -> None:
    """A handler that computes."""
    total = 0
    for number in range(rounds):
        total += number


def answer(line: bytes) -> bytes:
    """The answer to one line."""
    if line.startswith(b"SLOW"):
        time.sleep(0.005)
        return b"+DONE\r\n"
    if line.startswith(b"CPU"):
        compute(int(line[4:]))
        return b"+DONE\r\n"
    if line.startswith(b"PING surprise"):
        time.sleep(0.1)
    return b"+PONG\r\n"


class Mixed(StreamRequestHandler):
    """One connection, in a thread of its own."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        """See BaseRequestHandler."""
        try:
            for line in self.rfile:
                self.wfile.write(answer(line))
        except ConnectionError:
            pass


class Server(ThreadingTCPServer):
    """A thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024


if __name__ == "__main__":
    with Server(("127.0.0.1", int(sys.argv[1])), Mixed) as server:
        server.serve_forever()
