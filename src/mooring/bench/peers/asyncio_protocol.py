"""PING on asyncio's Protocol, one write for each message: ``python asyncio_protocol.py PORT [uvloop]``."""

from __future__ import annotations

import asyncio
import sys
from typing import cast


class Ping(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        lines = (self.rest + data).split(b"\r\n")
        self.rest = lines.pop()
        for _ in lines:
            self.transport.write(b"+PONG\r\n")


async def main() -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Ping, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    if "uvloop" in sys.argv:
        import uvloop  # type: ignore[import-not-found, unused-ignore]

        uvloop.run(main())
    else:
        asyncio.run(main())
