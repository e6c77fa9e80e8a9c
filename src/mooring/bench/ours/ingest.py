"""The gateway as its users start it: ``python ingest.py PORT URL WRITER``.

WRITER: ``group`` (as it is) or ``single`` (an INSERT and a commit for each push).
"""

from __future__ import annotations

import os
import sys

SINGLE = """
import sys
from mooring.db import open_pool
from mooring.gateway import server
pool = open_pool(sys.argv[2], max_size=16, max_waiting=1000)  # as many connections as the others have
server(bind=sys.argv[1], database=pool, auth="token", group_commit=False, model="threads").run()
"""


def main(port: str, url: str, writer: str) -> None:
    """Become ``mooring serve``; what it has no option for is a program of three lines."""
    bind = f"tcp://127.0.0.1:{port}"
    serve = ["-m", "mooring", "serve", "--bind", bind, "--database", url, "--auth", "token", "--log-level", "error"]
    arguments = serve if writer == "group" else ["-c", SINGLE, bind, url]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:4])
