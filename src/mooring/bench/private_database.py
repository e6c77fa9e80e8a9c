"""A MariaDB of the benchmark's own, in a new folder and on a free port; Debian has it in mariadb-server-core."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final

import pymysql

from .process import ProcessFailed

PACKAGE: Final = "mariadb-server-core"
STARTING_TIMEOUT: Final = 30.0


class PrivateDatabase:
    """``with PrivateDatabase() as database: database.url``; everything is removed at the end.

    Args:
        small: with little memory and a short log, which is enough where the pool is measured and not the database.
    """

    def __init__(self, *, small: bool = True) -> None:
        self._sizes = ("--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M") if small else ()
        # Short, because the path of a Unix socket has at most 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="mooring-", dir="/tmp"))
        self._socket = self._folder / "s"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    @staticmethod
    def missing() -> str:
        """What to do to get the server; empty if it is there."""
        return "" if _program("mariadbd") and _program("mariadb-install-db") else f"apt-get install {PACKAGE}"

    @property
    def url(self) -> str:
        """Over TCP."""
        return f"mysql://bench:bench@127.0.0.1:{self.port}/bench"

    @property
    def socket_url(self) -> str:
        """Over the Unix socket."""
        return f"mysql://bench:bench@localhost/bench?unix_socket={self._socket}"

    def __enter__(self) -> PrivateDatabase:
        try:
            options = ("--auth-root-authentication-method=normal", "--skip-test-db", "--force")
            _run("mariadb-install-db", *self._options(), *options)
            self.start()
            self.query("CREATE DATABASE bench")
            self.query("CREATE USER bench IDENTIFIED BY 'bench'")
            self.query("GRANT ALL ON *.* TO bench")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._remove()

    def start(self) -> None:
        """Start on the same folder and port as before; returns when it accepts logins.

        Raises:
            ProcessFailed: it does not.
        """
        arguments = [
            *self._options(),
            f"--socket={self._socket}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--pid-file={self._folder / 'pid'}",
            "--skip-name-resolve",
            "--performance-schema=OFF",
            "--max-connections=200",
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([_program("mariadbd"), *arguments], stdout=log, stderr=log)  # noqa: S603
        deadline = time.monotonic() + STARTING_TIMEOUT
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ProcessFailed(f"mariadbd does not start:\n{(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.005)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it: in order, or with SIGKILL as a power cut does."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(30)

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """One statement, with all rights."""
        with self._root() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def _root(self) -> pymysql.connections.Connection[pymysql.cursors.Cursor]:
        return pymysql.connect(unix_socket=str(self._socket), user="root", autocommit=True, ssl_disabled=True)

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._socket))
            except OSError:
                return False
        try:
            self._root().close()
        except pymysql.Error:
            return False
        return True

    def _options(self) -> list[str]:
        return [
            "--no-defaults",
            f"--user={getpass.getuser()}",
            f"--datadir={self._folder / 'data'}",
            *self._sizes,
        ]

    def _remove(self) -> None:
        self.stop(signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)


def _program(name: str) -> str:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin") or ""


def _run(name: str, *arguments: str) -> None:
    done = subprocess.run([_program(name), *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ProcessFailed(f"{name}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
