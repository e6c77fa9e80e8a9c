"""The tables ``uploads`` and ``upload_blocks``: what devices send in blocks, whole or still growing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ...db import Lease
from ..messages import Upload
from ..times import from_column, to_text
from .database import Database, Unavailable, marks, text_of

LARGEST_UPLOAD: Final = 64 * 1024 * 1024
MOST_UNFINISHED: Final = 8
"""Unfinished uploads of a device; one more drops the one that has not grown for the longest."""
PAGE: Final = 32
"""Blocks that are read at once, 1 MiB."""
ROWS: Final = 1000
_COLUMNS: Final = (
    "uploads.id, devices.name, uploads.name, sha256, total, received, uploads.created_at, changed_at, stored_at"
)
_JOINED: Final = "uploads JOIN devices ON devices.id = device_id"
_WHERE: Final = "WHERE device_id = %s AND name = %s AND sha256 = %s"


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


@dataclass(frozen=True, slots=True)
class UploadRow:
    """A line of the table, for people: times are UTC as text.

    Args:
        id: its number in the table.
        device, name: whose it is, and what the device calls it.
        sha256, total: of the whole.
        received: bytes that are there.
        stored_at: when it was complete; None: it is not.
    """

    id: int
    device: str
    name: str
    sha256: str
    total: int
    received: int
    created_at: str
    changed_at: str
    stored_at: str | None


class Uploads:
    """Reads and writes the tables. Usable from any thread; each block is one commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def progress(self, device_id: int, upload: Upload, now: float) -> Progress:
        """Find out where an upload goes on; a new one is entered.

        Raises:
            BadOffset: it is there with another ``total``. Unavailable.
        """
        self._enter_if_missing(device_id, upload, now)
        return self._database.run(lambda lease: self._find(lease, device_id, upload)[1])

    def add(self, device_id: int, upload: Upload, now: float) -> Progress:
        """Store a block; the last one completes the upload if its checksum is right. A repeated block is no matter.

        Raises:
            BadOffset, WrongBlock: nothing was stored. WrongChecksum: the upload was dropped. Unavailable.
        """
        assert upload.data is not None
        end = upload.offset + len(upload.data)
        if end > upload.total:
            raise BadOffset(f"the block ends at {end}, beyond total {upload.total}")
        if not upload.offset:
            self._enter_if_missing(device_id, upload, now)
        progress = self._database.run(lambda lease: self._add(lease, device_id, upload, now))
        if progress is None:
            raise WrongChecksum(f"the {upload.total} bytes that came have another sha256; send them again from 0")
        return progress

    def content(self, name: str, upload_name: str) -> Iterator[bytes]:
        """The bytes of the newest stored upload of a device and this name, block by block.

        Raises:
            LookupError: there is none. Unavailable.
        """
        yield from self.blocks(self.newest(name, upload_name))

    def newest(self, name: str, upload_name: str) -> UploadRow:
        """The stored upload of a device and this name that was completed last.

        Raises:
            LookupError: there is none. Unavailable.
        """
        with self._database.lease() as lease:
            row = lease.execute(
                f"SELECT {_COLUMNS} FROM {_JOINED} WHERE devices.name = %s AND uploads.name = %s AND "
                "stored_at IS NOT NULL ORDER BY stored_at DESC, uploads.id DESC LIMIT 1",
                (self._database.key(name), self._database.key(upload_name)),
            ).fetchone()
        if row is None:
            raise LookupError(f"{name!r} has no upload {upload_name!r}")
        return _row(row)

    def blocks(self, row: UploadRow) -> Iterator[bytes]:
        """The bytes of an upload that are there, block by block.

        Raises:
            Unavailable.
        """
        with self._database.lease() as lease:
            yield from _blocks(lease, row.id)

    def rows(self, name: str | None = None) -> Iterator[UploadRow]:
        """All uploads, or those of one device, stored or still growing, in the order in which they began.

        Raises:
            Unavailable.
        """
        last, more = 0, True
        where = "uploads.id > %s" + (" AND devices.name = %s" if name is not None else "")
        while more:
            values = (last,) if name is None else (last, self._database.key(name))
            sql = f"SELECT {_COLUMNS} FROM {_JOINED} WHERE {where} ORDER BY uploads.id LIMIT {ROWS}"
            with self._database.lease() as lease:
                page = [_row(row) for row in lease.execute(sql, values).fetchall()]
            yield from page
            more = len(page) == ROWS
            last = page[-1].id if page else last

    def drop_unfinished(self, before: float) -> int:
        """Drop unfinished uploads that have not grown since ``before`` (Unix seconds); returns how many.

        Raises:
            Unavailable.
        """
        dropped = 0
        while self._database.run(lambda lease: self._drop_one(lease, before)):
            dropped += 1
        return dropped

    # ------------------------------------------------------------------------------------------------------- inside

    def _enter_if_missing(self, device_id: int, upload: Upload, now: float) -> None:
        """A transaction of its own, and looked at without a lock: to lock a row that is not there locks the gap in
        which it would be, and two devices whose uploads begin at the same time would each wait for the other's gap.
        """
        with self._database.lease() as lease:
            found = lease.execute(f"SELECT id FROM uploads {_WHERE}", self._key(device_id, upload)).fetchone()
        if found is None:
            self._database.run(lambda lease: self._enter(lease, device_id, upload, now))

    def _enter(self, lease: Lease, device_id: int, upload: Upload, now: float) -> None:
        self._make_room(lease, device_id)
        try:
            lease.execute(
                "INSERT INTO uploads (device_id, name, sha256, total, received, created_at, changed_at) "
                "VALUES (%s, %s, %s, %s, 0, %s, %s)",
                (*self._key(device_id, upload), upload.total, to_text(now), to_text(now)),
            )
        except self._database.pool.IntegrityError:
            pass  # it came by another connection just now

    def _make_room(self, lease: Lease, device_id: int) -> None:
        rows = lease.execute(
            "SELECT id FROM uploads WHERE device_id = %s AND stored_at IS NULL ORDER BY changed_at DESC, id DESC",
            (device_id,),
        ).fetchall()
        if len(rows) >= MOST_UNFINISHED:
            _drop(lease, [int(row[0]) for row in rows[MOST_UNFINISHED - 1 :]])

    def _find(self, lease: Lease, device_id: int, upload: Upload) -> tuple[int, Progress]:
        """The upload, locked. This comes first in its transaction: what is read after it is as new as the lock."""
        sql = f"SELECT id, total, received, stored_at FROM uploads {_WHERE}{self._database.for_update}"
        row = lease.execute(sql, self._key(device_id, upload)).fetchone()
        if row is None and upload.offset:
            raise BadOffset(f"the next block begins at 0, not at {upload.offset}")
        if row is None:
            raise Unavailable(f"the upload {upload.name!r} was dropped in this moment; begin it again")
        if int(row[1]) != upload.total:
            raise BadOffset(f"this upload began with total {row[1]}, not {upload.total}")
        return int(row[0]), Progress(int(row[2]), row[3] is not None)

    def _add(self, lease: Lease, device_id: int, upload: Upload, now: float) -> Progress | None:
        """See ``add``; None: the checksum is wrong, and the upload is dropped."""
        assert upload.data is not None
        number, progress = self._find(lease, device_id, upload)
        if progress.is_stored:
            return progress
        if upload.offset != progress.received:
            self._compare(lease, number, upload, progress)
            return progress
        lease.execute(
            "INSERT INTO upload_blocks (upload_id, block_offset, data) VALUES (%s, %s, %s)",
            (number, upload.offset, upload.data),
        )
        end = upload.offset + len(upload.data)
        is_whole = end == upload.total
        if is_whole and self._digest(lease, number) != upload.sha256:
            _drop(lease, [number])
            return None
        lease.execute(
            "UPDATE uploads SET received = %s, changed_at = %s, stored_at = %s WHERE id = %s",
            (end, to_text(now), to_text(now) if is_whole else None, number),
        )
        return Progress(end, is_whole)

    def _key(self, device_id: int, upload: Upload) -> tuple[int, str | bytes, str]:
        return device_id, self._database.key(upload.name), upload.sha256

    def _drop_one(self, lease: Lease, before: float) -> bool:
        row = lease.execute(
            "SELECT id FROM uploads WHERE stored_at IS NULL AND changed_at < %s ORDER BY id LIMIT 1"
            + self._database.for_update,
            (to_text(before),),
        ).fetchone()
        if row is not None:
            _drop(lease, [int(row[0])])
        return row is not None

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


def _row(values: tuple[object, ...]) -> UploadRow:
    number, device, name, sha256, total, received, *times = values
    created, changed, stored = (from_column(time) if time is not None else None for time in times)  # type: ignore[arg-type]
    return UploadRow(
        int(str(number)),
        text_of(device),  # type: ignore[arg-type]
        text_of(name),  # type: ignore[arg-type]
        str(sha256),
        int(str(total)),
        int(str(received)),
        created or "",
        changed or "",
        stored,
    )


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
