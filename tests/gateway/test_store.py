"""The gateway's tables, on each database."""

from __future__ import annotations

import threading
from datetime import datetime

import msgspec
import pytest

from mooring.db import ConnectionPool, open_pool
from mooring.db.group_commit.statements import most_size
from mooring.gateway.messages import END_OF_TIME, LARGEST_SEQ, Item, Push
from mooring.gateway.server import migrations_of
from mooring.gateway.store import Store, TooManyDevices, Unavailable
from mooring.gateway.tables.devices import Device
from mooring.gateway.tables.pushes import Stored, rows_of, size_of
from mooring.gateway.times import from_column, to_text

NOW = 1763880000.125


def raw(data: str) -> msgspec.Raw:
    return msgspec.Raw(data.encode())


def add(store: Store, device: Device, push: Push, now: float) -> Stored:
    return store.pushes.add(rows_of(device, push, now))


@pytest.mark.parametrize("data", ["1", '"' + "\\\\'" * 500 + '"', '"é€😀"', "[" + "1," * 5000 + "1]"])
def test_rows_are_never_taken_for_smaller_than_they_are_in_a_statement(data: str) -> None:
    device = Device(2**63 - 1, "a")
    single = Push(seq=LARGEST_SEQ, data=raw(data), at=END_OF_TIME)
    batch = Push(seq=1, batch=(Item(raw(data)), Item(raw("0"), END_OF_TIME), Item(raw(data))))
    for push in (single, batch):
        rows = rows_of(device, push, NOW)
        assert size_of(rows) >= sum(map(most_size, rows))


def stored(store: Store, name: str, first: int = 1, last: int = LARGEST_SEQ) -> list[tuple[int, str, str]]:
    return [(row.seq, row.at, row.data) for row in store.pushes.of_device(name, first, last)]


def log_in(store: Store, name: str, now: float = NOW, **options: int) -> tuple[Device, int]:
    login = store.devices.log_in(name, now, **options)
    return login.device, login.last_seq


def push(seq: int, data: str = '{"v":1}', at: float | None = None) -> Push:
    return Push(seq, raw(data), at)


def test_a_device_keeps_its_number(store: Store) -> None:
    device, last_seq = log_in(store, "meter-7", NOW)
    assert last_seq == 0
    assert log_in(store, "meter-7", NOW + 1) == (device, 0)


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
    numbers = {log_in(store, name, NOW)[0].id for name in names}
    assert len(numbers) == len(names)


def test_many_who_log_in_by_one_new_name_are_one_device(store: Store) -> None:
    devices: list[Device] = []
    barrier = threading.Barrier(8)

    def come() -> None:
        barrier.wait()
        devices.append(log_in(store, "meter-7", NOW)[0])

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(devices) == 8
    assert len(set(devices)) == 1


def test_a_new_name_over_the_limit_is_refused_and_a_known_one_is_not(store: Store) -> None:
    log_in(store, "a", NOW, limit=2)
    log_in(store, "b", NOW, limit=2)
    with pytest.raises(TooManyDevices):
        log_in(store, "c", NOW, limit=2)
    log_in(store, "a", NOW, limit=2)


def test_last_seq_is_the_highest_that_is_stored(store: Store) -> None:
    device, _ = log_in(store, "a", NOW)
    other, _ = log_in(store, "b", NOW)
    for seq in (5, LARGEST_SEQ, 7):
        assert add(store, device, push(seq), NOW) is Stored.NEW
    add(store, other, push(3), NOW)
    assert log_in(store, "a", NOW) == (device, LARGEST_SEQ)
    assert log_in(store, "b", NOW) == (other, 3)


def test_what_is_stored_is_what_came(store: Store, pool: ConnectionPool) -> None:
    device, _ = log_in(store, "a", NOW)
    data = '{"b" : 1.50, "a":"é\\u00e9 \N{ELECTRIC PLUG} %s ? \'", "a":null}'
    add(store, device, push(1, data, at=1.5), NOW)
    with pool.connection() as lease:
        row = lease.execute("SELECT device_id, seq, at, received_at, data FROM pushes").fetchone()
    assert (row[0], row[1], from_column(row[2]), from_column(row[3]), row[4]) == (
        device.id,
        1,
        "1970-01-01 00:00:01.500",
        "2025-11-23 06:40:00.125",
        data,
    )
    assert stored(store, "a", 1, 9) == [(1, "1970-01-01 00:00:01.500", data)]


def test_data_of_a_whole_line_and_the_last_time_fit(store: Store) -> None:
    device, _ = log_in(store, "a", NOW)
    data = '"' + "é" * 32_000 + '"'
    assert add(store, device, push(1, data, at=END_OF_TIME), END_OF_TIME) is Stored.NEW
    assert stored(store, "a", 1, 1) == [(1, "9999-12-31 23:59:59.999", data)]


def test_the_same_push_again_is_not_stored_again(store: Store) -> None:
    device, _ = log_in(store, "a", NOW)
    for at in (None, 12.3456):
        seq = 1 if at is None else 2
        assert add(store, device, push(seq, at=at), NOW) is Stored.NEW
        assert add(store, device, push(seq, at=at), NOW + 5) is Stored.REPEATED
    assert len(stored(store, "a", 1, 9)) == 2


@pytest.mark.parametrize(
    "other",
    [push(1, '{"v":2}', 5.0), push(1, '{"v": 1}', 5.0), push(1, '{"V":1}', 5.0), push(1, at=5.001), push(1)],
    ids=["value", "blank", "case", "time", "no time"],
)
def test_another_push_with_the_same_seq_is_a_conflict_and_changes_nothing(store: Store, other: Push) -> None:
    device, _ = log_in(store, "a", NOW)
    add(store, device, push(1, at=5.0), NOW)
    assert add(store, device, other, NOW) is Stored.CONFLICT
    assert stored(store, "a", 1, 9) == [(1, to_text(5.0), '{"v":1}')]


def test_two_devices_may_use_the_same_seq(store: Store) -> None:
    for name in ("a", "b"):
        device, _ = log_in(store, name, NOW)
        assert add(store, device, push(1), NOW) is Stored.NEW


def test_presence_keeps_when_a_device_connected_unless_it_did_again(store: Store, pool: ConnectionPool) -> None:
    device, _ = log_in(store, "a", NOW)
    store.devices.note_presence([(NOW + 1, NOW + 1, device.id)])
    store.devices.note_presence([(None, NOW + 9, device.id)])
    with pool.connection() as lease:
        row = lease.execute("SELECT created_at, connected_at, last_seen_at FROM devices").fetchone()
    assert [from_column(value) for value in row] == [to_text(NOW), to_text(NOW + 1), to_text(NOW + 9)]


def test_of_logins_the_latest_come_first_and_not_more_than_a_portion(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mooring.gateway.tables.devices.PAGE", 2)
    numbers = [log_in(store, name)[0].id for name in "abcd"]
    store.devices.note_presence([(NOW + index, NOW + 9, number) for index, number in enumerate(numbers)])
    assert store.devices.logins_since(NOW + 2.5) == [("d", to_text(NOW + 3))]
    assert store.devices.logins_since(NOW) == [("d", to_text(NOW + 3)), ("c", to_text(NOW + 2))]


def test_rows_are_read_in_portions(store: Store, pool: ConnectionPool) -> None:
    device, _ = log_in(store, "a", NOW)
    with pool.connection() as lease:
        lease.executemany(
            "INSERT INTO pushes (device_id, seq, at, received_at, data) VALUES (%s, %s, %s, %s, %s)",
            [(device.id, seq, to_text(NOW), to_text(NOW), "1") for seq in range(1, 2101)],
        )
    assert [seq for seq, _, _ in stored(store, "a", 50, 2060)] == list(range(50, 2061))


def test_a_database_without_tables_is_unavailable(database_url: str) -> None:
    with open_pool(database_url) as pool, pytest.raises(Unavailable):
        log_in(Store(pool), "a", NOW)


def test_a_closed_pool_is_unavailable(store: Store, pool: ConnectionPool) -> None:
    device, _ = log_in(store, "a", NOW)
    pool.close()
    with pytest.raises(Unavailable):
        add(store, device, push(1), NOW)


def test_times_are_text_that_sorts_and_compares_with_a_datetime() -> None:
    assert to_text(1.9995) == "1970-01-01 00:00:02.000"
    assert from_column(datetime(1970, 1, 1, 0, 0, 1, 999000)) == "1970-01-01 00:00:01.999"


def batch(seq: int, *data: str) -> Push:
    return Push(seq, batch=tuple(Item(raw(text)) for text in data))


def test_a_batch_is_stored_whole_and_its_repetition_is_none(store: Store) -> None:
    device, _ = log_in(store, "a")
    assert add(store, device, batch(3, "1", "2", "3"), NOW) is Stored.NEW
    assert add(store, device, batch(3, "1", "2", "3"), NOW + 1) is Stored.REPEATED
    assert [(seq, data) for seq, _, data in stored(store, "a")] == [(3, "1"), (4, "2"), (5, "3")]


def test_a_batch_with_one_conflict_stores_nothing(store: Store) -> None:
    device, _ = log_in(store, "a")
    add(store, device, push(4, "9"), NOW)
    assert add(store, device, batch(3, "1", "2", "3"), NOW) is Stored.CONFLICT
    assert [(seq, data) for seq, _, data in stored(store, "a")] == [(4, "9")]


def test_a_batch_of_which_a_part_is_there_already_is_completed(store: Store) -> None:
    device, _ = log_in(store, "a")
    add(store, device, push(4, "2"), NOW)
    assert add(store, device, batch(3, "1", "2", "3"), NOW + 1) is Stored.NEW
    assert [(seq, data) for seq, _, data in stored(store, "a")] == [(3, "1"), (4, "2"), (5, "3")]


def test_presence_of_many_is_written_in_few_statements_and_never_goes_back(store: Store, pool: ConnectionPool) -> None:
    numbers = [log_in(store, str(number))[0].id for number in range(450)]
    store.devices.note_presence([(NOW + 5 if n % 2 else None, NOW + 9, n) for n in numbers])
    store.devices.note_presence([(NOW + 1, NOW + 2, n) for n in numbers])
    with pool.connection() as lease:
        rows = lease.execute("SELECT id, connected_at, last_seen_at FROM devices ORDER BY id").fetchall()
    for number, connected, seen in rows:
        assert from_column(connected) == to_text(NOW + 5 if number % 2 else NOW + 1)
        assert from_column(seen) == to_text(NOW + 9)


def test_a_push_that_comes_again_at_the_very_time_that_it_carries_is_a_repetition(store: Store) -> None:
    device, _ = log_in(store, "a")
    assert add(store, device, push(1, at=NOW + 5), NOW) is Stored.NEW  # the device's clock is ahead
    assert add(store, device, push(1, at=NOW + 5), NOW + 5) is Stored.REPEATED
    assert add(store, device, push(2), NOW) is Stored.NEW
    assert add(store, device, push(2), NOW + 5) is Stored.REPEATED
    assert add(store, device, push(2, at=NOW + 5), NOW + 6) is Stored.CONFLICT


@pytest.mark.parametrize("scheme", ["mysql", "mysql+mysqldb"])
def test_a_batch_is_stored_whole_or_not_at_all_however_the_driver_cuts_it(mariadb_url: str, scheme: str) -> None:
    with open_pool(mariadb_url.replace("mysql://", f"{scheme}://")) as pool:
        migrations_of(pool).migrate()
        store = Store(pool)
        device, _ = log_in(store, "a")
        add(store, device, push(1000, "0"), NOW)
        items = tuple(Item(raw(f'"{"x" * 1500}"')) for _ in range(1000))
        assert add(store, device, Push(1, batch=items), NOW) is Stored.CONFLICT
        assert [seq for seq, _, _ in stored(store, "a")] == [1000]
        assert add(store, device, Push(1001, batch=items), NOW) is Stored.NEW
        assert len(stored(store, "a")) == 1001


@pytest.mark.parametrize("scheme", ["mysql", "mysql+mysqldb"])
def test_a_single_insert_stores_what_came_byte_for_byte_by_either_driver(mariadb_url: str, scheme: str) -> None:
    data = '{"text":"50 %s 100%% \'quoted\' \\"twice\\" \\\\ back \\u0000 é€😀"}'
    with open_pool(mariadb_url.replace("mysql://", f"{scheme}://")) as pool:
        migrations_of(pool).migrate()
        store = Store(pool)
        device, _ = log_in(store, "a")
        assert add(store, device, push(1, data, at=NOW), NOW) is Stored.NEW
        assert add(store, device, push(1, data, at=NOW), NOW + 1) is Stored.REPEATED
        assert stored(store, "a") == [(1, to_text(NOW), data)]
