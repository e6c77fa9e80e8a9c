"""Uploads in blocks, on each database: resumed, checked, and nothing by halves."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from typing import Any

import database_faults as faulty
import pytest
from database_faults import Faults
from devices import Connect, Device, MakeGateway

from mooring.db import ConnectionPool, contexts, open_pool
from mooring.gateway import Gateway
from mooring.gateway.messages import LEAST_BLOCK, Upload
from mooring.gateway.server import migrations_of
from mooring.gateway.store import Store
from mooring.gateway.tables.uploads import MOST_UNFINISHED, Uploads

NOW = 1763880000.125
DATA = os.urandom(70_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
SIZE = 32 * 1024


def block(offset: int | None, data: bytes = DATA, **fields: Any) -> dict[str, Any]:
    message = {"op": "upload", "name": "raw-17", "sha256": hashlib.sha256(data).hexdigest(), "total": len(data)}
    if offset is not None:
        message |= {"offset": offset, "data": base64.b64encode(data[offset : offset + SIZE]).decode()}
    return message | fields


def blocks_in(gateway: Gateway) -> int:
    with gateway.store.database.lease() as lease:
        return int(lease.execute("SELECT COUNT(*) FROM upload_blocks").fetchone()[0])


@pytest.fixture
def device(gateway: Gateway, connect: Connect) -> Device:
    device = connect(gateway)
    device.log_in("a")
    return device


def test_blocks_may_be_pipelined_and_make_the_whole(
    make_gateway: MakeGateway, connect: Connect, database_url: str
) -> None:
    gateway = make_gateway(database_url)
    device = connect(gateway)
    device.log_in("a")
    for offset in (0, SIZE, 2 * SIZE):
        device.say(**block(offset))
    assert [device.hear() for _ in range(3)] == [
        {"op": "received", "name": "raw-17", "offset": SIZE},
        {"op": "received", "name": "raw-17", "offset": 2 * SIZE},
        {"op": "stored", "name": "raw-17", "sha256": SHA256},
    ]
    assert b"".join(gateway.store.uploads.content("a", "raw-17")) == DATA
    assert device.ask(**block(None)) == {"op": "stored", "name": "raw-17", "sha256": SHA256}
    assert device.ask(**block(0)) == {"op": "stored", "name": "raw-17", "sha256": SHA256}


def test_an_upload_goes_on_where_it_was_broken_off(gateway: Gateway, connect: Connect) -> None:
    with connect(gateway) as device:
        device.log_in("a")
        assert device.ask(**block(None)) == {"op": "received", "name": "raw-17", "offset": 0}
        assert device.ask(**block(0))["offset"] == SIZE
    device = connect(gateway)
    device.log_in("a")
    assert device.ask(**block(None)) == {"op": "received", "name": "raw-17", "offset": SIZE}
    assert device.ask(**block(0)) == {"op": "received", "name": "raw-17", "offset": SIZE}  # the answer was lost
    device.ask(**block(SIZE))
    assert device.ask(**block(2 * SIZE))["op"] == "stored"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"offset": 40_000}, "bad_offset"),
        ({"offset": 100}, "bad_offset"),
        ({"offset": 0, "data": base64.b64encode(DATA[:2000]).decode()}, "bad_offset"),
        ({"data": base64.b64encode(DATA[SIZE : SIZE + LEAST_BLOCK - 1]).decode()}, "bad_message"),
        ({"data": base64.b64encode(DATA[SIZE : SIZE + 1]).decode()}, "bad_message"),
        ({"offset": 69_990}, "bad_offset"),
        ({"offset": 0, "data": base64.b64encode(bytes(SIZE)).decode()}, "conflict"),
        ({"total": 69_999}, "bad_offset"),
        ({"total": 0}, "bad_message"),
        ({"total": 1 << 40}, "bad_message"),
        ({"data": "?"}, "bad_message"),
        ({"data": "YW"}, "bad_message"),
        ({"data": ""}, "bad_message"),
        ({"data": base64.b64encode(bytes(SIZE + 1)).decode()}, "bad_message"),
        ({"sha256": "0"}, "bad_message"),
        ({"sha256": SHA256.upper()}, "bad_message"),
        ({"name": ""}, "bad_message"),
        ({"name": "x" * 65}, "bad_message"),
        ({"offset": -1}, "bad_message"),
    ],
)
def test_a_block_that_does_not_belong_there_is_refused_and_nothing_of_it_is_stored(
    gateway: Gateway, device: Device, fields: dict[str, Any], code: str
) -> None:
    device.ask(**block(0))
    answer = device.ask(**block(SIZE) | fields)
    assert (answer["op"], answer["of"], answer["code"], answer["retry"]) == ("error", "upload", code, False)
    assert blocks_in(gateway) == 1
    assert device.ask(**block(SIZE))["offset"] == 2 * SIZE
    assert device.ask(**block(2 * SIZE))["op"] == "stored"
    assert b"".join(gateway.store.uploads.content("a", "raw-17")) == DATA


def test_an_upload_with_a_wrong_checksum_is_dropped_and_can_begin_again(gateway: Gateway, device: Device) -> None:
    data = b"abc"
    wrong = block(0, data, sha256=SHA256)
    answer = device.ask(**wrong)
    assert (answer["code"], answer["name"], answer["retry"]) == ("checksum", "raw-17", False)
    assert blocks_in(gateway) == 0
    assert device.ask(**wrong | {"data": None}) == {"op": "received", "name": "raw-17", "offset": 0}
    assert device.ask(**block(0, data))["op"] == "stored"


def test_an_upload_of_the_same_name_and_other_content_is_another_one(gateway: Gateway, device: Device) -> None:
    assert device.ask(**block(0, b"one"))["op"] == "stored"
    assert device.ask(**block(0, b"two"))["op"] == "stored"
    assert b"".join(gateway.store.uploads.content("a", "raw-17")) == b"two"
    with pytest.raises(LookupError):
        next(gateway.store.uploads.content("a", "raw-18"))


def upload(name: str, data: bytes, total: int = 10) -> Upload:
    return Upload(name, hashlib.sha256(name.encode()).hexdigest(), total, 0, data)


def test_unfinished_uploads_are_bounded_and_expire(store: Store) -> None:
    device = store.devices.log_in("a", NOW).device
    uploads: Uploads = store.uploads
    for number in range(MOST_UNFINISHED + 1):
        uploads.add(device.id, upload(str(number), b"12345"), NOW + number)
    # The first one had to go; it begins again, and the one that was idle longest goes.
    assert uploads.progress(device.id, upload("0", b""), NOW + 100).received == 0
    assert uploads.progress(device.id, upload("8", b""), NOW + 100).received == 5
    assert uploads.drop_unfinished(NOW + 5) > 0
    assert uploads.progress(device.id, upload("8", b""), NOW + 100).received == 5
    assert uploads.drop_unfinished(NOW + 1000) == MOST_UNFINISHED - 3
    with store.database.lease() as lease:
        assert lease.execute("SELECT COUNT(*) FROM upload_blocks").fetchone()[0] == 0


def whole(name: str) -> Upload:
    return Upload(name, hashlib.sha256(b"12345").hexdigest(), 5, 0, b"12345")


def test_a_block_whose_transaction_is_rolled_back_for_another_is_stored_at_the_next_try(
    pool: ConnectionPool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts, "LONGEST_PAUSE", contexts.SHORTEST_PAUSE)
    device = store.devices.log_in("a", NOW).device
    faults = Faults(pool, monkeypatch)
    faults.make = faulty.deadlock
    for step in range(1, 30):  # the first one only looks
        faults.steps.clear()
        faults.at = step
        assert store.uploads.add(device.id, whole(str(step)), NOW).is_stored
        taken, faults.at = len(faults.steps), -1
        assert b"".join(store.uploads.content("a", str(step))) == b"12345"
        if taken <= step:
            return
    raise AssertionError("there is no end of steps")


@pytest.mark.parametrize("kind", ["mariadb", "mysql9"])
def test_uploads_that_begin_at_the_same_time_do_not_block_each_other(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)
    make_room = Uploads._make_room

    def meet(*arguments: Any) -> None:
        make_room(*arguments)
        both.wait(30)  # both have looked, and neither has entered anything

    monkeypatch.setattr(Uploads, "_make_room", meet)
    with open_pool(request.getfixturevalue(f"{kind}_url")) as pool:
        migrations_of(pool).migrate()
        store = Store(pool)
        devices = [store.devices.log_in(name, NOW).device for name in "ab"]
        stored: list[bool] = []

        def send(number: int) -> None:
            stored.append(store.uploads.add(devices[number].id, whole("x"), NOW).is_stored)

        threads = [threading.Thread(target=send, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert stored == [True, True]
        assert pool.stats().retries == 0
