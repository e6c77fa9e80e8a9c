"""What happens to the server of a stampede: pauses, resizes, suspended accepts, certificates that are read again, and a
database that is killed.
"""

from __future__ import annotations

import json
import random
import signal
import threading
from types import TracebackType
from typing import Any, Final, Self

from ...client import Client
from ..private_database import PrivateDatabase
from .words import FRAMING, tell

LONGEST_PAUSE: Final = 0.05
KILL_INTERVAL: Final = 8.0
PATIENCE: Final = 60.0


class Control:
    """A connection by which the server is told what to do, and asked what it has seen; for one thread."""

    def __init__(self, port: int) -> None:
        self._client = Client(f"tcp://127.0.0.1:{port}", framing=FRAMING, timeout=PATIENCE)

    def wish(self, **wishes: object) -> dict[str, Any]:
        """Have something done; the server's report.

        Raises:
            OSError, ConnectionClosed: the server is gone, or does not answer.
        """
        self._client.send(tell(json.dumps(wishes).encode()))
        report: dict[str, Any] = json.loads(self._client.recv())
        return report

    def close(self) -> None:
        """Close it."""
        self._client.close()


class Disturber:
    """``with Disturber(...) as disturber:`` disturbs until the block is left; then ``counts`` says what was done.

    Its two threads write ``counts`` and ``error``, each its own names.

    Args:
        port: of the server.
        seed: of what is done, and when.
        has_pool: whether the model has a thread pool.
        database: what is killed and started again; None: nothing is.
    """

    def __init__(self, port: int, seed: int, *, has_pool: bool, database: PrivateDatabase | None) -> None:
        self.counts: dict[str, int] = {}
        self.error: BaseException | None = None
        self._has_pool = has_pool
        self._database = database
        self._seed = seed
        self._port = port
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(self._disturb,), daemon=True)]
        if database is not None:
            self._threads.append(threading.Thread(target=self._run, args=(self._kill,), daemon=True))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _run(self, work: Any) -> None:
        try:
            work()
        except Exception as exc:  # noqa: BLE001 - told by the thread that waits for us
            self.error = exc

    def _disturb(self) -> None:
        dice = random.Random(f"{self._seed}/disturber")
        control = Control(self._port)
        wishes = ["suspend", "reload", *(["pause", "resize"] if self._has_pool else [])]
        try:
            while not self._end.wait(dice.uniform(0.01, 0.2)):
                wish = dice.choice(wishes)
                value = [1, dice.randrange(1, 17)] if wish == "resize" else dice.uniform(0, LONGEST_PAUSE)
                control.wish(**{wish: value})
                self._count(wish)
        finally:
            control.close()

    def _kill(self) -> None:
        dice = random.Random(f"{self._seed}/killer")
        database = self._database
        assert database is not None
        while not self._end.wait(dice.uniform(0.1, 1.9) * KILL_INTERVAL):
            database.stop(signal.SIGKILL)
            self._count("kill")
            self._end.wait(dice.uniform(0, 2.0))
            database.start()

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1
