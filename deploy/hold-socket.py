#!/usr/bin/env python3
"""Holds a listening socket, and replaces the server on it without a refused connection; for hosts without systemd.

    deploy/hold-socket.py 0.0.0.0:7000 .venv/bin/mooring serve --config /etc/mooring/mooring.toml

HUP starts a successor on the same socket. When that one says that it is ready the old one is told to drain (TERM); if
it does not become ready, it is ended and the old one goes on. TERM and INT drain and end. A server that fails is
started again, and meanwhile clients wait in the socket. Give HOST:PORT, [HOST]:PORT, or the path of a Unix socket.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import time

READY_TIMEOUT = 60.0
MISTAKES = (0, 2, 4, 78)  # ended in order, or by a mistake that trying again does not mend


def listen(where: str) -> socket.socket:
    """The socket; it is never closed, so nobody is refused while this process lives."""
    if "/" in where:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(where)
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(where)
        os.chmod(where, 0o660)
        sock.listen(1024)
        return sock
    host, _, port = where.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=1024)


class Holder:
    """Starts servers on one socket; at most two at a time.

    Args:
        sock: the socket.
        command: of the server, without ``--fd``.
    """

    def __init__(self, sock: socket.socket, command: list[str]) -> None:
        self._socket = sock
        self._command = [*command, "--fd", str(sock.fileno())]
        self._count = 0
        self._told: dict[int, socket.socket] = {}  # where servers tell how they are, by process

    def start(self) -> subprocess.Popen[bytes] | None:
        """A server that is ready, or None: it did not become so."""
        self._count += 1
        name = f"hold-socket-{os.getpid()}-{self._count}"
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)  # as sd_notify(3) does it
        told.bind(f"\0{name}")
        told.settimeout(0.2)
        environment = {**os.environ, "NOTIFY_SOCKET": f"@{name}"}
        server = subprocess.Popen(self._command, pass_fds=[self._socket.fileno()], env=environment)  # noqa: S603
        self._told[server.pid] = told
        deadline = time.monotonic() + READY_TIMEOUT
        while server.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in told.recv(4096):
                    told.setblocking(False)
                    return server
        if server.poll() is None:
            server.kill()
        print(f"hold-socket: not ready, code {self.wait(server)}", file=sys.stderr, flush=True)
        return None

    def hear(self) -> None:
        """Take what the servers have told since: what nobody takes would hold them up."""
        for told in self._told.values():
            with contextlib.suppress(BlockingIOError):
                while told.recv(4096):
                    pass

    def wait(self, server: subprocess.Popen[bytes]) -> int:
        """Wait for the end of a server; its exit code."""
        while server.poll() is None:
            self.hear()
            time.sleep(0.1)
        self._told.pop(server.pid).close()
        return int(server.returncode)


def main(where: str, *command: str) -> int:
    """Hold the socket until TERM or INT; returns the exit code of the last server."""
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, frame: signals.put(got))
    holder = Holder(listen(where), list(command))
    server = holder.start()
    if server is None:
        return 3
    print(f"hold-socket: process {server.pid} is ready", file=sys.stderr, flush=True)
    while True:
        try:
            got = signals.get(timeout=0.5)
        except queue.Empty:
            holder.hear()
            if server.poll() is None:
                continue
            code = holder.wait(server)
            if code in MISTAKES:
                return code
            while (successor := holder.start()) is None:
                with contextlib.suppress(queue.Empty):
                    if signals.get(timeout=1.0) != signal.SIGHUP:
                        return 3
            server = successor
            continue
        if got != signal.SIGHUP:
            server.send_signal(signal.SIGTERM)
            return holder.wait(server)
        successor = holder.start()
        if successor is not None:
            server.send_signal(signal.SIGTERM)
            code = holder.wait(server)
            server = successor
            said = f"hold-socket: process {server.pid} has taken over; the old one ended with {code}"
            print(said, file=sys.stderr, flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
