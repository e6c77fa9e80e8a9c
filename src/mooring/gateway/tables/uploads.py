"""The tables ``uploads`` and ``upload_blocks``: what devices send in blocks, whole or still growing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ...db import Lease
from ..messages import Upload
from ..times import to_text
from .database import Database, marks

LARGEST_UPLOAD: Final = 64 * 1024 * 1024
MOST_UNFINISHED: Final = 8
"""Unfinished uploads of a device; one more drops the one that has not grown for the longest."""
PAGE: Final = 32
"""Blocks that are read at once, 1 MiB."""


class BadOffset(Exception):
    """The block does not belong where the upload goes on."""


class WrongBlock(Exception):
    """Another block stands at this offset."""


class WrongChecksum(Exception):
    """The whole is not what its checksum says; it is dropped."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an upload is.

    Args:
        received: bytes that are there, from the beginning on.
        is_stored: it is complete and its checksum is right.
    """

    received: int
    is_stored: bool


class Uploads:
    """Reads and writes the tables. Usable from any thread; each block is one commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def progress(self, device_id: int, upload: Upload, now: float) -> Progress:
        """Find out where an upload goes on; a new one is entered.

        Raises:
            BadOffset: it is there with another ``total``. Unavailable.
        """
        with self._database.transaction() as lease:
            return self._find_or_enter(lease, device_id, upload, now)[1]

    def add(self, device_id: int, upload: Upload, now: float) -> Progress:
        """Store a block; the last one completes the upload if its checksum is right. A repeated block is no matter.

        Raises:
            BadOffset, WrongBlock: nothing was stored. WrongChecksum: the upload was dropped. Unavailable.
        """
        assert upload.data is not None
        is_wrong = False
        with self._database.transaction() as lease:
            number, progress = self._find_or_enter(lease, device_id, upload, now)
            end = upload.offset + len(upload.data)
            if end > upload.total:
                raise BadOffset(f"the block ends at {end}, beyond total {upload.total}")
            if progress.is_stored:
                return progress
            if upload.offset != progress.received:
                self._compare(lease, number, upload, progress)
                return progress
            lease.execute(
                "INSERT INTO upload_blocks (upload_id, block_offset, data) VALUES (%s, %s, %s)",
                (number, upload.offset, upload.data),
            )
            if end == upload.total:
                is_wrong = self._digest(lease, number) != upload.sha256
            if is_wrong:
                _drop(lease, [number])
            else:
                stored_at = to_text(now) if end == upload.total else None
                lease.execute(
                    "UPDATE uploads SET received = %s, changed_at = %s, stored_at = %s WHERE id = %s",
                    (end, to_text(now), stored_at, number),
                )
        if is_wrong:
            raise WrongChecksum(f"the {upload.total} bytes that came have another sha256; send them again from 0")
        return Progress(end, end == upload.total)

    def content(self, name: str, upload_name: str) -> Iterator[bytes]:
        """The bytes of the newest stored upload of a device and this name, block by block.

        Raises:
            LookupError: there is none. Unavailable.
        """
        with self._database.lease() as lease:
            row = lease.execute(
                "SELECT uploads.id FROM uploads JOIN devices ON devices.id = device_id WHERE devices.name = %s AND "
                "uploads.name = %s AND stored_at IS NOT NULL ORDER BY stored_at DESC, uploads.id DESC LIMIT 1",
                (self._database.key(name), self._database.key(upload_name)),
            ).fetchone()
            if row is None:
                raise LookupError(f"{name!r} has no upload {upload_name!r}")
            yield from _blocks(lease, int(row[0]))

    def drop_unfinished(self, before: float) -> int:
        """Drop unfinished uploads that have not grown since ``before`` (Unix seconds); returns how many.

        Raises:
            Unavailable.
        """
        dropped = 0
        while True:
            with self._database.transaction() as lease:
                rows = lease.execute(
                    "SELECT id FROM uploads WHERE stored_at IS NULL AND changed_at < %s ORDER BY id LIMIT 1"
                    + self._database.for_update,
                    (to_text(before),),
                ).fetchall()
                if not rows:
                    return dropped
                _drop(lease, [int(rows[0][0])])
                dropped += 1

    # ------------------------------------------------------------------------------------------------------- inside

    def _find_or_enter(self, lease: Lease, device_id: int, upload: Upload, now: float) -> tuple[int, Progress]:
        name = self._database.key(upload.name)
        row = lease.execute(
            "SELECT id, total, received, stored_at FROM uploads WHERE device_id = %s AND name = %s AND sha256 = %s"
            + self._database.for_update,
            (device_id, name, upload.sha256),
        ).fetchone()
        if row is not None:
            if int(row[1]) != upload.total:
                raise BadOffset(f"this upload began with total {row[1]}, not {upload.total}")
            return int(row[0]), Progress(int(row[2]), row[3] is not None)
        self._make_room(lease, device_id)
        cursor = lease.execute(
            "INSERT INTO uploads (device_id, name, sha256, total, received, created_at, changed_at) "
            "VALUES (%s, %s, %s, %s, 0, %s, %s)",
            (device_id, name, upload.sha256, upload.total, to_text(now), to_text(now)),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid, Progress(0, False)

    def _make_room(self, lease: Lease, device_id: int) -> None:
        rows = lease.execute(
            "SELECT id FROM uploads WHERE device_id = %s AND stored_at IS NULL ORDER BY changed_at DESC, id DESC",
            (device_id,),
        ).fetchall()
        if len(rows) >= MOST_UNFINISHED:
            _drop(lease, [int(row[0]) for row in rows[MOST_UNFINISHED - 1 :]])

    def _compare(self, lease: Lease, number: int, upload: Upload, progress: Progress) -> None:
        """A block that is not the next one: is it there already?"""
        if upload.offset > progress.received:
            raise BadOffset(f"the next block begins at {progress.received}, not at {upload.offset}")
        row = lease.execute(
            "SELECT data FROM upload_blocks WHERE upload_id = %s AND block_offset = %s", (number, upload.offset)
        ).fetchone()
        if row is None or len(row[0]) != len(upload.data or b""):
            detail = f"the block overlaps with others; the next one begins at {progress.received}"
            raise BadOffset(detail)
        if bytes(row[0]) != upload.data:
            raise WrongBlock(f"another block is stored at offset {upload.offset}")

    @staticmethod
    def _digest(lease: Lease, number: int) -> str:
        digest = hashlib.sha256()
        for block in _blocks(lease, number):
            digest.update(block)
        return digest.hexdigest()


def _blocks(lease: Lease, number: int) -> Iterator[bytes]:
    offset = -1
    while True:
        rows = lease.execute(
            "SELECT block_offset, data FROM upload_blocks WHERE upload_id = %s AND block_offset > %s "
            f"ORDER BY block_offset LIMIT {PAGE}",
            (number, offset),
        ).fetchall()
        for row in rows:
            offset = int(row[0])
            yield bytes(row[1])
        if len(rows) < PAGE:
            return


def _drop(lease: Lease, numbers: list[int]) -> None:
    for table, column in (("upload_blocks", "upload_id"), ("uploads", "id")):
        lease.execute(f"DELETE FROM {table} WHERE {column} IN ({marks(len(numbers))})", tuple(numbers))
