"""Where running servers leave word for the commands of the same user: how to reach their admin side.

A folder of the user's own, 0700, in $XDG_RUNTIME_DIR or else in the folder for temporary files. It knows nothing of
the admin side itself, so that commands can read it without the extra being installed.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import MooringError

TOKEN_FILE: Final = "admin-token"  # noqa: S105 - its name


@dataclass(frozen=True)
class Running:
    """A server that runs. ``url`` and ``token`` are of its admin side."""

    pid: int
    url: str
    token: str


class UnsafeFolderError(MooringError):
    """Others could write into the folder, or it is somebody else's."""


def folder() -> Path:
    """The folder; made if it is missing.

    Raises:
        UnsafeFolderError, OSError.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and os.access(base, os.W_OK):
        path = Path(base) / "mooring"
    else:
        path = Path(tempfile.gettempdir()) / f"mooring-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise UnsafeFolderError(f"{path} is not a folder of this user alone (0700); remove it, or set XDG_RUNTIME_DIR")
    return path


def kept_token(make: str) -> str:
    """The user's token, which all his servers share unless told otherwise; ``make`` becomes it if there is none.

    It outlives a restart of the server, so that an open page finds its way back.
    """
    path = folder() / TOKEN_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        kept = _read(path).strip()
        if kept:
            return kept
        path.unlink()
        return kept_token(make)
    with os.fdopen(descriptor, "w") as file:
        file.write(make)
    return make


def leave_word(running: Running) -> Path:
    """Write how this process is reached; returns the file, to be removed at its end."""
    path = folder() / f"server-{running.pid}.json"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"pid": running.pid, "url": running.url, "token": running.token}, file)
    return path


def find_running() -> list[Running]:
    """The servers of this user that run; what dead ones have left is removed."""
    found = []
    for path in sorted(folder().glob("server-*.json")):
        try:
            word = json.loads(_read(path))
            running = Running(int(word["pid"]), str(word["url"]), str(word["token"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not written to its end yet, or gone this moment
        if _lives(running.pid):
            found.append(running)
        else:
            path.unlink(missing_ok=True)
    return found


def _read(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor) as file:
        return file.read(4096)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
