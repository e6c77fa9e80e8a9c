"""Uploads and files: what the gateway answers to ``upload``, ``version`` and ``pull``. All of it waits for a disk."""

from __future__ import annotations

from .errors import ErrorCode, refusal
from .files import Files, UnknownFile, Unsettled
from .messages import LARGEST_BLOCK, Block, FileVersion, Pull, Received, Upload, UploadStored, Version
from .tables.devices import Device
from .tables.uploads import LARGEST_UPLOAD, BadOffset, Uploads, WrongBlock, WrongChecksum


def take_block(uploads: Uploads, device: Device, upload: Upload, now: float) -> Received | UploadStored:
    """Store a block of an upload, or say where it goes on.

    Raises:
        ProtocolError: nothing of the block was stored. Unavailable.
    """
    if not 1 <= upload.total <= LARGEST_UPLOAD:
        detail = f"an upload has 1 to {LARGEST_UPLOAD} bytes, this one {upload.total}"
        raise refusal(ErrorCode.BAD_MESSAGE, detail, upload)
    try:
        if upload.data is None:
            progress = uploads.progress(device.id, upload, now)
        else:
            progress = uploads.add(device.id, upload, now)
    except BadOffset as exc:
        raise refusal(ErrorCode.BAD_OFFSET, str(exc), upload) from exc
    except WrongBlock as exc:
        raise refusal(ErrorCode.CONFLICT, str(exc), upload) from exc
    except WrongChecksum as exc:
        raise refusal(ErrorCode.CHECKSUM, str(exc), upload) from exc
    if progress.is_stored:
        return UploadStored(upload.name, upload.sha256)
    return Received(upload.name, progress.received)


def tell_version(files: Files | None, version: Version) -> FileVersion:
    """Say which version of a file there is.

    Raises:
        ProtocolError: there is none, or it is being replaced now.
    """
    info = _guard(files, version).info
    try:
        found = info(version.name)
    except UnknownFile as exc:
        raise refusal(ErrorCode.UNKNOWN_NAME, str(exc), version) from exc
    except Unsettled as exc:
        raise refusal(ErrorCode.BUSY, str(exc), version) from exc
    return FileVersion(found.name, found.version, found.size, found.sha256)


def read_block(files: Files | None, pull: Pull) -> Block:
    """Read a piece of a version of a file; at its end, less than was asked for.

    Raises:
        ProtocolError: there is no such version any more, or the offset is beyond its end.
    """
    read = _guard(files, pull).read
    try:
        data, total = read(pull.name, pull.version, pull.offset, min(pull.length, LARGEST_BLOCK))
    except UnknownFile as exc:
        raise refusal(ErrorCode.UNKNOWN_NAME, str(exc), pull) from exc
    except Unsettled as exc:
        raise refusal(ErrorCode.BUSY, str(exc), pull) from exc
    if pull.offset > total:
        raise refusal(ErrorCode.BAD_OFFSET, f"the file ends at {total}", pull)
    return Block(pull.name, pull.version, pull.offset, total, data)


def _guard(files: Files | None, message: Version | Pull) -> Files:
    if files is None:
        raise refusal(ErrorCode.UNKNOWN_NAME, "this gateway offers no files", message)
    return files
