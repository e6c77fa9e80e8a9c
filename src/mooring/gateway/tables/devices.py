"""The table ``devices``: who may log in, who did, and when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...db import Lease
from ...errors import MooringError
from ..times import from_column, to_seconds, to_text
from ..tokens import NO_HASH, hash_of, is_hash_of
from .database import Database, Unavailable, marks, text_of

MOST_DEVICES: Final = 100_000
"""Names in the table, beyond which nobody gets in by a new one while any name may log in."""
UPDATE_SIZE: Final = 200
"""Devices in one UPDATE: MySQL looks through the list for each row, so a longer one costs more than it saves."""
PAGE: Final = 1000

_EPOCH: Final = "CAST('1970-01-01' AS DATETIME(3))"
_CONNECTED: Final = "CAST(connected_at AS CHAR)"
"""The text of the time: MySQL's driver would make a datetime of it, and we a text again, at three times the cost."""
_LOG_IN: Final = (
    "SELECT id, token_hash, (SELECT MAX(seq) FROM pushes WHERE pushes.device_id = devices.id), "
    "EXISTS (SELECT 1 FROM commands WHERE commands.device_id = devices.id AND done_at IS NULL), connected_at "
    "FROM devices WHERE name = %s"
)


class TooManyDevices(MooringError):
    """The table of devices has as many names as are taken without tokens."""


class Unauthorized(MooringError):
    """No such device, or not its token: which of the two is nobody's business."""


class DeviceExists(MooringError):
    """The device has a token already."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that has logged in.

    Args:
        id: its number in the tables.
        name: what it calls itself.
        token_hash: of the token that it logged in with; None: it needed none.
    """

    id: int
    name: str
    token_hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """What a login finds.

    Args:
        device: who it is.
        last_seq: the highest seq that is stored of it, 0 if there is none.
        has_commands: whether a command waits for it.
        connected_at: when its last login before this one was, in Unix seconds, as far as it is written; 0.0: none.
    """

    device: Device
    last_seq: int
    has_commands: bool
    connected_at: float = 0.0


@dataclass(frozen=True)
class DeviceRow:
    """A line of the table, for people: times are UTC as text."""

    name: str
    has_token: bool
    created_at: str
    connected_at: str | None
    last_seen_at: str | None


class Devices:
    """Reads and writes the table. Usable from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def log_in(self, name: str, now: float, limit: int = MOST_DEVICES) -> Login:
        """Find the device, or enter a new one: any name may log in.

        Args:
            name: checked already.
            now: Unix time in seconds.
            limit: devices in the table, beyond which a new one is refused.

        Raises:
            TooManyDevices, Unavailable.
        """
        with self._database.lease() as lease:
            row = lease.execute(_LOG_IN, (self._database.key(name),)).fetchone()
            if row is None:
                return Login(Device(self._enter(lease, name, now, limit), name), 0, False)
        return _login(Device(int(row[0]), name), row)

    def authenticate(self, name: str, token: str | None) -> Login:
        """Find the device if this is its token. An unknown name costs the same statement and the same comparison.

        Raises:
            Unauthorized, Unavailable.
        """
        digest = hash_of(token or "")
        with self._database.lease() as lease:
            # The hash stands in the query, so that for a wrong one, too, nothing but the name is looked up.
            row = lease.execute(_LOG_IN + " AND token_hash = %s", (self._database.key(name), digest)).fetchone()
        stored = bytes(row[1]) if row is not None else NO_HASH
        if not is_hash_of(token, stored) or row is None:
            raise Unauthorized("the token is not that of a device of this name")
        return _login(Device(int(row[0]), name, stored), row)

    def add(self, name: str, token_hash: bytes, now: float) -> None:
        """Let a device in by a token: a new one, or one that has none.

        Raises:
            DeviceExists, Unavailable.
        """
        key = self._database.key(name)
        with self._database.transaction() as lease:
            changed = lease.execute(
                "UPDATE devices SET token_hash = %s WHERE name = %s AND token_hash IS NULL", (token_hash, key)
            ).rowcount
            if changed:
                return
            if self._find(lease, name) is not None:
                raise DeviceExists(f"{name!r} has a token already")
            lease.execute(
                "INSERT INTO devices (name, token_hash, created_at) VALUES (%s, %s, %s)",
                (key, token_hash, to_text(now)),
            )

    def take_token(self, name: str) -> bool:
        """Let a device in no longer; what it has pushed stays.

        Returns:
            Whether it had a token.

        Raises:
            Unavailable.
        """
        with self._database.lease() as lease:
            sql = "UPDATE devices SET token_hash = NULL WHERE name = %s AND token_hash IS NOT NULL"
            return lease.execute(sql, (self._database.key(name),)).rowcount > 0

    def find(self, name: str) -> int | None:
        """The number of a device, or None.

        Raises:
            Unavailable.
        """
        with self._database.lease() as lease:
            return self._find(lease, name)

    def rows(self) -> Iterator[DeviceRow]:
        """All devices, in the order of their numbers.

        Raises:
            Unavailable.
        """
        last = 0
        while True:
            with self._database.lease() as lease:
                page = lease.execute(
                    "SELECT id, name, token_hash IS NOT NULL, created_at, connected_at, last_seen_at FROM devices "
                    f"WHERE id > %s ORDER BY id LIMIT {PAGE}",
                    (last,),
                ).fetchall()
            for number, name, has_token, *times in page:
                last = number
                created, connected, seen = (from_column(time) if time is not None else None for time in times)
                yield DeviceRow(text_of(name), bool(has_token), created or "", connected, seen)
            if len(page) < PAGE:
                return

    def roll_call(self, ids: Sequence[int]) -> dict[int, tuple[bytes | None, str | None]]:
        """Of these devices, those that are there still: token hash and when the newest login was, as text.

        Raises:
            Unavailable.
        """
        with self._database.lease() as lease:
            rows = lease.execute(
                f"SELECT id, token_hash, {_CONNECTED} FROM devices WHERE id IN ({marks(len(ids))})", tuple(ids)
            ).fetchall()
        return {
            int(number): (bytes(token) if token is not None else None, connected) for number, token, connected in rows
        }

    def logins_since(self, when: float) -> list[tuple[str, str]]:
        """Who has logged in since then, as far as it is written: names, and when each did last, as text.

        The latest come first, and of very many (a fleet that comes back, a clock that was put back) only those.

        Raises:
            Unavailable.
        """
        with self._database.lease() as lease:
            rows = lease.execute(
                f"SELECT name, {_CONNECTED} FROM devices WHERE connected_at > %s "
                f"ORDER BY connected_at DESC LIMIT {PAGE}",
                (to_text(when),),
            ).fetchall()
        return [(text_of(name), connected) for name, connected in rows]

    def note_presence(self, rows: Sequence[tuple[float | None, float, int]]) -> None:
        """Write when devices connected (None: no change) and were last heard of, in one commit.

        A login that is older than the one that is written already, by another server, does not go back to it.

        Args:
            rows: (connected at, last seen at, device id), times as Unix seconds.

        Raises:
            Unavailable: nothing was written.
        """
        # In the order of the key, as every writer does it, so that two of them cannot block each other.
        ordered = [
            (number, to_text(connected) if connected is not None else None, to_text(seen))
            for connected, seen, number in sorted(rows, key=lambda row: row[2])
        ]
        with self._database.transaction() as lease:
            if not self._database.is_mysql:
                lease.executemany(
                    "UPDATE devices SET connected_at = CASE WHEN connected_at > %s THEN connected_at "
                    "ELSE COALESCE(%s, connected_at) END, last_seen_at = MAX(COALESCE(last_seen_at, ''), %s) "
                    "WHERE id = %s",
                    [(connected, connected, seen, number) for number, connected, seen in ordered],
                )
                return
            for first in range(0, len(ordered), UPDATE_SIZE):
                _update_in_one(lease, ordered[first : first + UPDATE_SIZE])

    # ------------------------------------------------------------------------------------------------------- inside

    def _find(self, lease: Lease, name: str) -> int | None:
        row = lease.execute("SELECT id FROM devices WHERE name = %s", (self._database.key(name),)).fetchone()
        return int(row[0]) if row is not None else None

    def _enter(self, lease: Lease, name: str, now: float, limit: int) -> int:
        if lease.execute("SELECT COUNT(*) FROM devices").fetchone()[0] >= limit:
            raise TooManyDevices(f"{limit} devices are known already; no new name is taken without tokens")
        try:
            cursor = lease.execute(
                "INSERT INTO devices (name, created_at) VALUES (%s, %s)", (self._database.key(name), to_text(now))
            )
        except self._database.pool.IntegrityError as exc:  # the same name came in by another connection just now
            number = self._find(lease, name)
            if number is None:
                raise Unavailable(f"{name!r} could not be entered: {exc}") from exc
            return number
        assert cursor.lastrowid is not None
        return cursor.lastrowid


def _login(device: Device, row: Sequence[Any]) -> Login:
    last_seq, has_commands, connected = row[2:]
    return Login(device, last_seq or 0, bool(has_commands), to_seconds(connected) if connected is not None else 0.0)


def _update_in_one(lease: Lease, rows: Sequence[tuple[int, str | None, str]]) -> None:
    """One round trip for all, where the driver would make one for each row."""
    numbers = [number for number, _, _ in rows]
    seen: list[Any] = [value for number, _, when in rows for value in (number, when)]
    connected: list[Any] = [value for number, when, _ in rows if when is not None for value in (number, when)]
    whens = " ".join(["WHEN %s THEN CAST(%s AS DATETIME(3))"] * len(rows))
    sets = [f"last_seen_at = GREATEST(COALESCE(last_seen_at, {_EPOCH}), CASE id {whens} END)"]
    if connected:
        whens = " ".join(["WHEN %s THEN CAST(%s AS DATETIME(3))"] * (len(connected) // 2))
        newest = f"GREATEST(COALESCE(connected_at, {_EPOCH}), CASE id {whens} END)"
        sets.append(f"connected_at = COALESCE({newest}, connected_at)")
    lease.execute(
        f"UPDATE devices SET {', '.join(sets)} WHERE id IN ({marks(len(numbers))})", (*seen, *connected, *numbers)
    )
