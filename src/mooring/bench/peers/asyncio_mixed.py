"""Quick and slow calls on asyncio's streams: ``python asyncio_mixed.py PORT REMEDY [uvloop]``.

REMEDY is what is done about slow calls: ``nothing``, ``to_thread`` (asyncio's own executor, min(32, cores + 4)
threads), ``64_threads`` (the same with as many threads as Mooring's pool may have) or ``processes``.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

remedy = sys.argv[2] if len(sys.argv) > 2 else "nothing"
processes: ProcessPoolExecutor | None = None


def wait() -> bytes:
    """A handler that waits, as for a database."""
    time.sleep(0.005)
    return b"+DONE\r\n"


def compute(rounds: int) -> bytes:
    """A handler that computes."""
    total = 0
    for number in range(rounds):
        total += number
    return b"+DONE\r\n"


async def answer(line: bytes) -> bytes:
    """The answer to one line."""
    if line.startswith(b"SLOW"):
        return wait() if remedy == "nothing" else await asyncio.to_thread(wait)
    if line.startswith(b"CPU"):
        rounds = int(line[4:])
        if processes is not None:
            return await asyncio.get_running_loop().run_in_executor(processes, compute, rounds)
        return compute(rounds) if remedy == "nothing" else await asyncio.to_thread(compute, rounds)
    if line.startswith(b"PING surprise"):
        time.sleep(0.1)
    return b"+PONG\r\n"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection."""
    try:
        while line := await reader.readline():
            writer.write(await answer(line))
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main() -> None:
    """Serve until TERM."""
    loop = asyncio.get_running_loop()
    if remedy == "64_threads":
        loop.set_default_executor(ThreadPoolExecutor(64))
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await stopped.wait()
    server.close()


def run() -> None:
    """With or without uvloop."""
    if "uvloop" in sys.argv:
        import uvloop  # type: ignore[import-not-found, unused-ignore]

        uvloop.run(main())
    else:
        asyncio.run(main())


if __name__ == "__main__":
    if remedy == "processes":
        with ProcessPoolExecutor() as processes:
            processes.submit(compute, 1).result()  # started before there are threads or sockets to inherit
            run()
    else:
        run()
