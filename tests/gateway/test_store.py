"""The gateway's tables, on each database."""

from __future__ import annotations

import threading
from datetime import datetime

import msgspec
import pytest

from mooring.db import ConnectionPool, open_pool
from mooring.gateway.messages import END_OF_TIME, LARGEST_SEQ, Push
from mooring.gateway.store import Device, Store, Stored, TooManyDevices, Unavailable
from mooring.gateway.times import from_column, to_text

NOW = 1763880000.125


def push(seq: int, data: str = '{"v":1}', at: float | None = None) -> Push:
    return Push(seq, msgspec.Raw(data.encode()), at)


def test_a_device_keeps_its_number(store: Store) -> None:
    device, last_seq = store.log_in("meter-7", NOW)
    assert last_seq == 0
    assert store.log_in("meter-7", NOW + 1) == (device, 0)


def test_names_are_compared_byte_for_byte(store: Store) -> None:
    names = [
        "meter",
        "Meter",
        "METER",
        "m\u00e9ter",
        "me\u0301ter",
        "m\u00c9ter",
        "meter\u00df",
        "meterss",
        "\U0001f50c" * 64,
    ]
    numbers = {store.log_in(name, NOW)[0].id for name in names}
    assert len(numbers) == len(names)


def test_many_who_log_in_by_one_new_name_are_one_device(store: Store) -> None:
    devices: list[Device] = []
    barrier = threading.Barrier(8)

    def log_in() -> None:
        barrier.wait()
        devices.append(store.log_in("meter-7", NOW)[0])

    threads = [threading.Thread(target=log_in) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(devices) == 8
    assert len(set(devices)) == 1


def test_a_new_name_over_the_limit_is_refused_and_a_known_one_is_not(store: Store) -> None:
    store.log_in("a", NOW, limit=2)
    store.log_in("b", NOW, limit=2)
    with pytest.raises(TooManyDevices):
        store.log_in("c", NOW, limit=2)
    store.log_in("a", NOW, limit=2)


def test_last_seq_is_the_highest_that_is_stored(store: Store) -> None:
    device, _ = store.log_in("a", NOW)
    other, _ = store.log_in("b", NOW)
    for seq in (5, LARGEST_SEQ, 7):
        assert store.push(device, push(seq), NOW) is Stored.NEW
    store.push(other, push(3), NOW)
    assert store.log_in("a", NOW) == (device, LARGEST_SEQ)
    assert store.log_in("b", NOW) == (other, 3)


def test_what_is_stored_is_what_came(store: Store, pool: ConnectionPool) -> None:
    device, _ = store.log_in("a", NOW)
    data = '{"b" : 1.50, "a":"é\\u00e9 \N{ELECTRIC PLUG} %s ? \'", "a":null}'
    store.push(device, push(1, data, at=1.5), NOW)
    with pool.connection() as lease:
        row = lease.execute("SELECT device_id, seq, at, received_at, data FROM pushes").fetchone()
    assert (row[0], row[1], from_column(row[2]), from_column(row[3]), row[4]) == (
        device.id,
        1,
        "1970-01-01 00:00:01.500",
        "2025-11-23 06:40:00.125",
        data,
    )
    assert list(store.pushes("a", 1, 9)) == [(1, "1970-01-01 00:00:01.500", data)]


def test_data_of_a_whole_line_and_the_last_time_fit(store: Store) -> None:
    device, _ = store.log_in("a", NOW)
    data = '"' + "é" * 32_000 + '"'
    assert store.push(device, push(1, data, at=END_OF_TIME), END_OF_TIME) is Stored.NEW
    assert list(store.pushes("a", 1, 1)) == [(1, "9999-12-31 23:59:59.999", data)]


def test_the_same_push_again_is_not_stored_again(store: Store) -> None:
    device, _ = store.log_in("a", NOW)
    for at in (None, 12.3456):
        seq = 1 if at is None else 2
        assert store.push(device, push(seq, at=at), NOW) is Stored.NEW
        assert store.push(device, push(seq, at=at), NOW + 5) is Stored.REPEATED
    assert len(list(store.pushes("a", 1, 9))) == 2


@pytest.mark.parametrize(
    "other",
    [push(1, '{"v":2}', 5.0), push(1, '{"v": 1}', 5.0), push(1, '{"V":1}', 5.0), push(1, at=5.001), push(1)],
    ids=["value", "blank", "case", "time", "no time"],
)
def test_another_push_with_the_same_seq_is_a_conflict_and_changes_nothing(store: Store, other: Push) -> None:
    device, _ = store.log_in("a", NOW)
    store.push(device, push(1, at=5.0), NOW)
    assert store.push(device, other, NOW) is Stored.CONFLICT
    assert list(store.pushes("a", 1, 9)) == [(1, to_text(5.0), '{"v":1}')]


def test_two_devices_may_use_the_same_seq(store: Store) -> None:
    for name in ("a", "b"):
        device, _ = store.log_in(name, NOW)
        assert store.push(device, push(1), NOW) is Stored.NEW


def test_presence_keeps_when_a_device_connected_unless_it_did_again(store: Store, pool: ConnectionPool) -> None:
    device, _ = store.log_in("a", NOW)
    store.note_presence([(NOW + 1, NOW + 1, device.id)])
    store.note_presence([(None, NOW + 9, device.id)])
    with pool.connection() as lease:
        row = lease.execute("SELECT created_at, connected_at, last_seen_at FROM devices").fetchone()
    assert [from_column(value) for value in row] == [to_text(NOW), to_text(NOW + 1), to_text(NOW + 9)]


def test_rows_are_read_in_portions(store: Store, pool: ConnectionPool) -> None:
    device, _ = store.log_in("a", NOW)
    with pool.connection() as lease:
        lease.executemany(
            "INSERT INTO pushes (device_id, seq, at, received_at, data) VALUES (%s, %s, %s, %s, %s)",
            [(device.id, seq, to_text(NOW), to_text(NOW), "1") for seq in range(1, 2101)],
        )
    assert [seq for seq, _, _ in store.pushes("a", 50, 2060)] == list(range(50, 2061))


def test_a_database_without_tables_is_unavailable(database_url: str) -> None:
    with open_pool(database_url) as pool, pytest.raises(Unavailable):
        Store(pool).log_in("a", NOW)


def test_a_closed_pool_is_unavailable(store: Store, pool: ConnectionPool) -> None:
    device, _ = store.log_in("a", NOW)
    pool.close()
    with pytest.raises(Unavailable):
        store.push(device, push(1), NOW)


def test_times_are_text_that_sorts_and_compares_with_a_datetime() -> None:
    assert to_text(1.9995) == "1970-01-01 00:00:02.000"
    assert from_column(datetime(1970, 1, 1, 0, 0, 1, 999000)) == "1970-01-01 00:00:01.999"
