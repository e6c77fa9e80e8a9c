"""A private MariaDB for tests: its own process, folder and port; killed, stopped and started again at will."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pymysql

USER = "app"
PASSWORD = "secret@:/%"  # every character that a URL must escape
ESCAPED_PASSWORD = "secret%40%3A%2F%25"
DATABASE = "mooring"


def find_program(name: str) -> str:
    """The path of a server program, also where it is on no user's PATH; missing is a failure, never a skip."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        raise RuntimeError(f"{name} is not installed: apt-get install mariadb-server-core")
    return path


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_template(folder: Path) -> Path:
    """Make a data folder with the database ``mooring`` and the user ``app`` in it; copies of it start at once."""
    data = folder / "template"
    subprocess.run(
        [
            find_program("mariadb-install-db"),
            "--no-defaults",
            f"--user={getpass.getuser()}",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--innodb-log-file-size=8M",
            "--force",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with MariaDB(data) as server:
        with server.root() as root, root.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")
            for host in ("localhost", "127.0.0.1"):
                cursor.execute(f"CREATE USER {USER}@'{host}' IDENTIFIED BY %s", (PASSWORD,))
                cursor.execute(f"GRANT ALL ON *.* TO {USER}@'{host}'")
    return data


class MariaDB:
    """One server over a copy of a template; ``with`` starts it and removes everything at the end.

    Args:
        data: the data folder to copy, or to use as it is if ``copy`` is false.
        options: further arguments for ``mariadbd``.
    """

    def __init__(self, data: Path, *, copy: bool = False, options: tuple[str, ...] = ()) -> None:
        # Short, because the path of a Unix socket has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="mdb-", dir="/tmp"))
        self.socket = self.folder / "s"
        self.log = self.folder / "log"
        self.port = free_port()
        self.data = data
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        if copy:
            self.data = self.folder / "data"
            subprocess.run(["cp", "-a", "--sparse=always", str(data), str(self.data)], check=True)

    def url(self, database: str = DATABASE, *, user: str = USER, password: str = ESCAPED_PASSWORD) -> str:
        """The URL over TCP."""
        return f"mysql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def socket_url(self, database: str = DATABASE) -> str:
        """The URL over the Unix socket."""
        return f"mysql://{USER}:{ESCAPED_PASSWORD}@localhost/{database}?unix_socket={self.socket}"

    def start(self) -> MariaDB:
        """Start on the same folder and port as before; returns when it accepts logins."""
        assert self.process is None, "it runs already"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        self._await_login()
        return self

    def command(self) -> list[str]:
        """How the server is started."""
        return [
            find_program("mariadbd"),
            "--no-defaults",
            f"--user={getpass.getuser()}",
            f"--datadir={self.data}",
            f"--socket={self.socket}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--pid-file={self.folder / 'pid'}",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=16M",
            "--innodb-log-file-size=8M",
            "--performance-schema=OFF",
            "--max-connections=50",
            *self.options,
        ]

    def _await_login(self) -> None:
        process = self.process
        assert process is not None
        for _ in range(400):
            if self._accepts():
                return
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            self.process = None
            raise RuntimeError(f"the server ended at once:\n{self.log.read_text()}")
        raise RuntimeError(f"the server does not answer:\n{self.log.read_text()}")

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:  # PyMySQL leaks the socket when this is refused
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
        try:
            self.root().close()
        except pymysql.Error:
            return False
        return True

    def root(self) -> pymysql.connections.Connection[pymysql.cursors.Cursor]:
        """A plain driver connection with all rights, over the Unix socket, in autocommit."""
        return pymysql.connect(
            unix_socket=str(self.socket),
            user="root",
            autocommit=True,
            ssl_disabled=True,
            connect_timeout=5,
            read_timeout=20,
        )

    def query(self, sql: str, *params: object) -> list[tuple[object, ...]]:
        """Run one statement as root."""
        with self.root() as root, root.cursor() as cursor:
            cursor.execute(sql, params or None)
            return list(cursor.fetchall())

    def new_database(self, name: str) -> str:
        """Make an empty database, without what may be there of that name; returns its URL."""
        self.query(f"DROP DATABASE IF EXISTS {name}")
        self.query(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return self.url(name)

    def connections(self) -> list[int]:
        """The server's ids of the connections of ``app``."""
        rows = self.query("SELECT id FROM information_schema.processlist WHERE user = %s", USER)
        return [int(str(row[0])) for row in rows]

    def kill(self) -> None:
        """End it without warning, as a power cut does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Shut it down in order."""
        self._end(signal.SIGTERM)

    def signal(self, number: int) -> None:
        """Send it any signal, for example SIGSTOP: all its threads stand still then."""
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGSTOP:
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def _end(self, number: int) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(number)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> MariaDB:
        try:
            return self.start()
        except BaseException:
            self._end(signal.SIGKILL)
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def __exit__(self, *exc: object) -> None:
        self._end(signal.SIGTERM)
        shutil.rmtree(self.folder, ignore_errors=True)
