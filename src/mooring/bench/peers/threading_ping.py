"""PING on the standard library's ThreadingTCPServer: ``python threading_ping.py PORT``."""

from __future__ import annotations

import sys
from socketserver import StreamRequestHandler, ThreadingTCPServer


class Ping(StreamRequestHandler):
    """One connection, in a thread of its own."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        """See BaseRequestHandler."""
        try:
            for _ in self.rfile:
                self.wfile.write(b"+PONG\r\n")
        except ConnectionError:
            pass


class Server(ThreadingTCPServer):
    """A thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024


if __name__ == "__main__":
    with Server(("127.0.0.1", int(sys.argv[1])), Ping) as server:
        server.serve_forever()
