"""PING on asyncio's Protocol over TLS: ``python asyncio_tls.py PORT CERTIFICATE KEY [uvloop]``."""

from __future__ import annotations

import asyncio
import ssl
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
        if lines:
            self.transport.write(b"+PONG\r\n" * len(lines))


async def main() -> None:
    """Serve until the process is ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Ping, "127.0.0.1", int(sys.argv[1]), backlog=1024, ssl=context)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    if "uvloop" in sys.argv:
        import uvloop  # type: ignore[import-not-found, unused-ignore]

        uvloop.run(main())
    else:
        asyncio.run(main())
