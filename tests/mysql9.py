"""A private MySQL 9 for tests, out of the folder that ``script/mysql9`` has fetched; nothing of it is installed."""

from __future__ import annotations

import getpass
import platform
import subprocess
from pathlib import Path

from mariadb import DATABASE, PASSWORD, USER, MariaDB

SCRIPT = Path(__file__).parent.parent / "script" / "mysql9"


def mysql9_root() -> Path:
    """The folder with MySQL's ``usr``; fetches it if it is missing, and fails with the reason if that cannot be."""
    done = subprocess.run([str(SCRIPT)], capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"a real MySQL 9 could not be fetched by {SCRIPT}:\n{done.stderr}")
    return Path(done.stdout.strip()) / "root"


def make_mysql9_template(folder: Path, root: Path) -> Path:
    """Make a data folder with the database ``mooring`` and the user ``app`` in it."""
    data, init = folder / "template", folder / "init.sql"
    lines = [f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4;"]
    for host in ("localhost", "127.0.0.1"):
        lines.append(f"CREATE USER {USER}@'{host}' IDENTIFIED WITH caching_sha2_password BY '{PASSWORD}';")
        lines.append(f"GRANT ALL ON *.* TO {USER}@'{host}';")
    init.write_text("\n".join(lines))
    arguments = [f"--datadir={data}", "--initialize-insecure", f"--init-file={init}", "--innodb-redo-log-capacity=16M"]
    done = subprocess.run([*_mysqld(root), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"mysqld --initialize failed:\n{done.stdout}{done.stderr}")
    return data


class MySQL9(MariaDB):
    """One MySQL 9 server over a copy of a template; see ``MariaDB``."""

    def __init__(self, data: Path, root: Path, *, copy: bool = False, options: tuple[str, ...] = ()) -> None:
        super().__init__(data, copy=copy, options=options)
        self._root = root

    def command(self) -> list[str]:
        return [
            *_mysqld(self._root),
            f"--datadir={self.data}",
            f"--socket={self.socket}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--mysqlx=OFF",
            f"--pid-file={self.folder / 'pid'}",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=16M",
            "--innodb-redo-log-capacity=16M",
            "--performance-schema=OFF",
            "--max-connections=50",
            "--skip-log-bin",
            *self.options,
        ]


def _mysqld(root: Path) -> list[str]:
    """The program through its own loader, because its C library is newer than that of the system."""
    libraries = next((root / "usr" / "lib").glob(f"{platform.machine()}-linux-gnu*"))
    loader = next(libraries.glob("ld-linux*.so.*"))
    share = root / "usr" / "share" / "mysql"
    return [
        *(str(loader), "--library-path", str(libraries), str(root / "usr" / "sbin" / "mysqld"), "--no-defaults"),
        f"--user={getpass.getuser()}",
        f"--basedir={root / 'usr'}",
        f"--lc-messages-dir={share}",
        f"--character-sets-dir={share / 'charsets'}",
        f"--plugin-dir={root / 'usr' / 'lib' / 'mysql' / 'plugin'}",
        "--secure-file-priv=",
    ]
