"""Files that devices may pull, out of a directory: a file, or a folder with one file for each version.

    DIR/firmware               version 5f3c9a1e20b7, the beginning of its sha256
    DIR/firmware/1.4.1
    DIR/firmware/1.4.2         version 1.4.2+5f3c9a1e20b7; the highest number is the one that is offered

A version names its content, so pieces of a file that was replaced never mix with those of the old one: whoever asks for
the old version hears that it is gone.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import MooringError
from ..threads.blocking import about_to_block

SETTLED_AFTER: Final = 1.0
"""Seconds without a change after which a file is offered. Within one tick of the file system's clock a change would not
show in the file's times."""
HASH_LENGTH: Final = 12
MOST_HASHES: Final = 1000
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Links are not followed, so nothing outside of the directory can be reached; a FIFO does not stop us."""

Signature = tuple[int, int, int, int, int]


class UnknownFile(MooringError):
    """There is no such file, or no such version of it (any more)."""


class Unsettled(MooringError):
    """The file is being changed; ask again in a second."""


@dataclass(frozen=True)
class FileInfo:
    """What is offered by a name."""

    name: str
    version: str
    size: int
    sha256: str


class Files:
    """Usable from any thread; the lock guards the table of hashes. Everything here waits for the disk.

    Args:
        folder: the directory.

    Raises:
        ValueError: it is no directory.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).absolute()
        if not self.folder.is_dir():
            raise ValueError(f"files is {str(folder)!r}; it must be a directory")
        self._lock = threading.Lock()
        self._hashes: dict[Signature, str] = {}

    def info(self, name: str) -> FileInfo:
        """What is offered by this name.

        Raises:
            UnknownFile, Unsettled.
        """
        about_to_block()
        with self._open(name, None) as (number, file, signature):
            digest = self._digest(number, signature, name)
            return FileInfo(name, _version(file, digest), signature[2], digest)

    def read(self, name: str, version: str, offset: int, length: int) -> tuple[bytes, int]:
        """A piece of a version, and the size of the whole.

        Raises:
            UnknownFile, Unsettled.
        """
        about_to_block()
        file = version.rpartition("+")[0] or None
        with self._open(name, file) as (number, found, signature):
            if _version(found if file is not None else None, self._digest(number, signature, name)) != version:
                raise UnknownFile(f"version {version[:64]!r} of {name!r} is gone; ask for the version")
            data = os.pread(number, length, offset) if offset < signature[2] else b""
            if _signature(number) != signature:
                raise Unsettled(f"{name!r} was changed just now")
        return data, signature[2]

    @contextmanager
    def _open(self, name: str, file: str | None) -> Iterator[tuple[int, str | None, Signature]]:
        """Open a file: (descriptor, file in the folder of this name, signature).

        Args:
            file: of which file in the folder; None: the newest, or the file of this name itself.
        """
        if _NAME.fullmatch(name) is None or (file is not None and _NAME.fullmatch(file) is None):
            raise UnknownFile(f"there is no file {name[:64]!r}")
        numbers: list[int] = []
        try:
            numbers.append(os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            numbers.append(os.open(name, _FLAGS, dir_fd=numbers[-1]))
            if stat.S_ISDIR(os.fstat(numbers[-1]).st_mode):
                file = _newest(os.listdir(numbers[-1]), name) if file is None else file
                numbers.append(os.open(file, _FLAGS, dir_fd=numbers[-1]))
            elif file is not None:
                raise UnknownFile(f"there is no version {file[:64]!r} of {name!r}")
            if not stat.S_ISREG(os.fstat(numbers[-1]).st_mode):
                raise UnknownFile(f"there is no file {name[:64]!r}")
            yield numbers[-1], file, _signature(numbers[-1])
        except OSError as exc:
            raise UnknownFile(f"there is no file {name[:64]!r}, or no such version of it") from exc
        finally:
            for number in numbers:
                os.close(number)

    def _digest(self, number: int, signature: Signature, name: str) -> str:
        with self._lock:
            known = self._hashes.get(signature)
        if known is not None:
            return known
        changed = max(signature[3:]) / 1e9
        if 0 <= time.time() - changed < SETTLED_AFTER:
            raise Unsettled(f"{name!r} was changed just now")
        digest = _sha256(number, signature[2])
        if _signature(number) != signature:
            raise Unsettled(f"{name!r} was changed just now")
        with self._lock:
            while len(self._hashes) >= MOST_HASHES:
                del self._hashes[next(iter(self._hashes))]
            self._hashes[signature] = digest
        return digest


def _signature(number: int) -> Signature:
    """Tells one content from another: any write changes the times, a replacement the file's number."""
    status = os.fstat(number)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _sha256(number: int, size: int) -> str:
    digest = hashlib.sha256()
    offset = 0
    while offset < size:
        block = os.pread(number, 1 << 20, offset)
        if not block:
            break
        digest.update(block)
        offset += len(block)
    return digest.hexdigest()


def _newest(names: list[str], folder: str) -> str:
    versions = [name for name in names if _NAME.fullmatch(name)]
    if not versions:
        raise UnknownFile(f"there is no version of {folder!r}")
    return max(versions, key=_natural)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts 1.10 after 1.9: runs of digits are numbers, and go after other text."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(1, int(part), "") if part[0].isdecimal() else (0, 0, part) for part in parts]


def _version(file: str | None, digest: str) -> str:
    return f"{file}+{digest[:HASH_LENGTH]}" if file is not None else digest[:HASH_LENGTH]
