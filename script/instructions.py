"""Counts what a message costs a server: machine instructions by function of C, bytecodes by function of Python.

    .venv/bin/python script/instructions.py [--messages 4096] [--router]

See ``counting.py``; each for 1 and 16 messages on the way, on 8 connections.
"""

from __future__ import annotations

import argparse
import socket
import sys
from typing import Any

from counting import lengthen_limits, print_costs, serve

CONNECTIONS = 8


def answer(connection: Any, message: bytes) -> bytes:
    """The handler."""
    return b"+PONG"


def make_server(*, router: bool) -> Any:
    """The server of the counted process."""
    from mooring import Router, Server
    from mooring.framing import Lines

    lengthen_limits()
    handler: Any = answer
    if router:
        handler = Router(key=lambda message: message[:4])
        handler.on(b"PING")(answer)
    return Server(handler, framing=Lines(b"\r\n"), bind="tcp://127.0.0.1:0")


def send(port: int, depth: int, messages: int) -> None:
    """All connections ask, then all are answered."""
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    for _ in range(messages // (CONNECTIONS * depth)):
        for sock in sockets:
            sock.sendall(b"PING\r\n" * depth)
        for sock in sockets:
            answers = 0
            while answers < depth:
                answers += sock.recv(65536).count(b"\n")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=4096)
    parser.add_argument("--router", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--bytecodes", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(lambda: make_server(router=options.router), bytecodes=options.bytecodes)
        return
    counted = [sys.executable, __file__, "--serve", *(["--router"] if options.router else [])]
    print_costs("message", counted, send, options.messages, begin=lambda: None)


if __name__ == "__main__":
    main()
