"""What a gateway must have stored, and must answer: a model in Python of the tables and the rules of the protocol."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from mooring.gateway.takeovers import TAKEOVERS_PER_MINUTE
from mooring.gateway.times import to_text

Answer = dict[str, Any]
"""The fields of an answer that matter; it may have others."""


def error(code: str, **fields: Any) -> Answer:
    """An error with this code."""
    return {"op": "error", "code": code, **fields}


@dataclass(frozen=True)
class Item:
    """What is pushed: JSON text, and the device's time as it is stored, or None."""

    data: str
    at: str | None

    @classmethod
    def of(cls, data: str, at: float | None) -> Item:
        """Of what a message says."""
        return cls(data, to_text(at) if at is not None else None)


@dataclass
class ModelUpload:
    """An upload, whole or growing."""

    total: int
    blocks: dict[int, bytes] = field(default_factory=dict)

    @property
    def received(self) -> int:
        """Bytes that are there, from the beginning on."""
        return sum(map(len, self.blocks.values()))

    @property
    def is_stored(self) -> bool:
        """Whether it is complete."""
        return self.received == self.total

    @property
    def content(self) -> bytes:
        """What is there."""
        return b"".join(block for _, block in sorted(self.blocks.items()))


@dataclass
class ModelDevice:
    """A device as the gateway must know it.

    Args:
        name: of the device.
        rows: its pushes, by seq.
        uploads: by name and sha256.
        takeovers: how often a newer login has closed an older connection.
    """

    name: str
    rows: dict[int, Item] = field(default_factory=dict)
    uploads: dict[tuple[str, str], ModelUpload] = field(default_factory=dict)
    takeovers: int = 0

    @property
    def last_seq(self) -> int:
        """The highest seq that is stored."""
        return max(self.rows, default=0)

    @property
    def changes_hands_too_often(self) -> bool:
        """Whether it stays with whoever has it, for a while."""
        return self.takeovers > TAKEOVERS_PER_MINUTE

    def push(self, seq: int, items: list[Item]) -> Answer:
        """Store a push or its repetition: all of it, or nothing."""
        for number, item in enumerate(items, seq):
            if self.rows.get(number, item) != item:
                return error("conflict", of="push", seq=seq, retry=False)
        for number, item in enumerate(items, seq):
            self.rows.setdefault(number, item)
        return {"op": "ack", "seq": seq + len(items) - 1}

    def upload(self, name: str, sha256: str, total: int, offset: int, data: bytes | None) -> Answer:
        """Store a block, or tell where to go on."""
        key = (name, sha256)
        upload = self.uploads.get(key, ModelUpload(total))
        if upload.total != total:
            return error("bad_offset", of="upload", name=name)
        if data is not None:
            refused = self._add(upload, name, offset, data)
            if refused is not None:
                return refused
        self.uploads[key] = upload
        if not upload.is_stored:
            return {"op": "received", "name": name, "offset": upload.received}
        if hashlib.sha256(upload.content).hexdigest() != sha256:
            del self.uploads[key]
            return error("checksum", of="upload", name=name)
        return {"op": "stored", "name": name, "sha256": sha256}

    @staticmethod
    def _add(upload: ModelUpload, name: str, offset: int, data: bytes) -> Answer | None:
        if offset + len(data) > upload.total:
            return error("bad_offset", of="upload", name=name)
        if upload.is_stored:
            return None
        if offset == upload.received:
            upload.blocks[offset] = data
            return None
        known = upload.blocks.get(offset)
        if known is None or len(known) != len(data):
            return error("bad_offset", of="upload", name=name)
        return None if known == data else error("conflict", of="upload", name=name)
