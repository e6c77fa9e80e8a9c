"""Somebody who has the dashboard open, as a program: what the page asks for, as often as it does.

It takes the stream of snapshots and, every two seconds, a page of the connections that were silent for the longest.
It is told what to do by one JSON argument, and writes two JSON lines: when the first snapshot has come, and, after
standard input was closed, what it has seen and how long scrapes of ``/metrics`` took then.
"""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import threading
import time
from typing import Any

TABLE = "/api/v1/connections?sort=silence&order=desc&limit=50"
TABLE_INTERVAL = 2.0
TIMEOUT = 20.0
SCRAPE_PAUSE = 0.1


class Viewer:
    """Looks at one admin side. The counters are each written by one thread.

    Args:
        port: where it is.
        token: lets us in.
    """

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._headers = {"Authorization": f"Bearer {token}"}
        self._over = threading.Event()
        self.begun = threading.Event()
        self.snapshots = 0
        self.pages = 0

    def look(self) -> list[threading.Thread]:
        """Begin to look; the threads that do."""
        threads = [threading.Thread(target=one, daemon=True) for one in (self._follow, self._turn)]
        for thread in threads:
            thread.start()
        return threads

    def end(self) -> None:
        """Look no more."""
        self._over.set()

    def scrape(self, times: int) -> list[float]:
        """Seconds that so many scrapes took, on one connection, as Prometheus makes them."""
        connection = self._connect()
        took = []
        for _ in range(times):
            begun = time.perf_counter()
            self._get(connection, "/metrics").read()
            took.append(time.perf_counter() - begun)
            time.sleep(SCRAPE_PAUSE)
        connection.close()
        return took

    def _follow(self) -> None:
        connection = self._connect()
        for line in self._get(connection, "/api/v1/events"):
            if self._over.is_set():
                break
            if line.startswith(b"event: snapshot"):
                self.snapshots += 1
                self.begun.set()
        connection.close()

    def _turn(self) -> None:
        connection = self._connect()
        while True:
            self._get(connection, TABLE).read()
            self.pages += 1
            if self._over.wait(TABLE_INTERVAL):
                break
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)

    def _get(self, connection: http.client.HTTPConnection, path: str) -> http.client.HTTPResponse:
        connection.request("GET", path, headers=self._headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"{path}: status {answer.status}")
        return answer


def main() -> None:
    """Do what the argument says."""
    task: dict[str, Any] = json.loads(sys.argv[1])
    viewer = Viewer(task["port"], task["token"])
    threads = viewer.look()
    if not viewer.begun.wait(TIMEOUT):
        raise SystemExit("no snapshot has come")
    print(json.dumps({}), flush=True)
    sys.stdin.buffer.read()
    viewer.end()
    for thread in threads:
        thread.join(TIMEOUT)
    took = viewer.scrape(task["scrapes"])
    told = {"snapshots": viewer.snapshots, "pages": viewer.pages, "scrape": statistics.median(took), "most": max(took)}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
