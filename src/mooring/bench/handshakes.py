"""Clients whose TLS handshakes are no good, as a program: many at once, for as long as its standard input is open.

It is told what to do by one JSON argument, and speaks as ``abuser`` does: ``start`` when it has begun, and at its end
one JSON line with the same counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import sys
from typing import Any

from mooring.bench.abuser import PATIENCE
from mooring.bench.load import say

RENEGOTIATION_INTERVAL = 0.02
ADDRESS = "127.0.0.9"
"""They come from an address of their own, as the server may hold what they do against it."""


class Handshakes:
    """All of them.

    Args:
        task: ``port``, ``count``, ``what``: "stranger" (a certificate of an authority that the server does not know)
            or "renegotiation"; ``certificate`` and ``key`` of the stranger.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        self._task = task
        self.counts = {"connections": 0, "ended by the server": 0, "refused": 0, "bytes": 0}

    async def run(self) -> None:
        """Until standard input is closed."""
        one = self._present if self._task["what"] == "stranger" else self._renegotiate
        tasks = [asyncio.create_task(self._again_and_again(one)) for _ in range(self._task["count"])]
        say("start")
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _again_and_again(self, one: Any) -> None:
        while True:
            self.counts["connections"] += 1
            try:
                async with asyncio.timeout(PATIENCE):
                    await one()
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                self.counts["ended by the server"] += 1
            await asyncio.sleep(0.01)

    async def _present(self) -> None:
        """Make a handshake with a certificate of the wrong authority, and wait for what comes of it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # whom we speak to does not matter
        context.load_cert_chain(self._task["certificate"], self._task["key"])
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._task["port"], ssl=context, local_addr=(ADDRESS, 0)
        )
        try:
            await reader.readexactly(1)
        finally:
            writer.transport.abort()

    async def _renegotiate(self) -> None:
        """Ask for a new handshake again and again in the same connection, which TLS 1.2 has and TLS 1.3 has not."""
        process = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-connect", f"127.0.0.1:{self._task['port']}", "-bind", f"{ADDRESS}:0", "-tls1_2"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert process.stdin is not None
            while process.returncode is None:
                process.stdin.write(b"R\n")
                await process.stdin.drain()
                await asyncio.sleep(RENEGOTIATION_INTERVAL)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def main() -> None:
    """Do what the argument says."""
    os.nice(19)
    handshakes = Handshakes(json.loads(sys.argv[1]))
    asyncio.run(handshakes.run())
    say(json.dumps(handshakes.counts))


if __name__ == "__main__":
    main()
