"""What the admin side is told by the gateway, which it does not know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring import Client
from mooring.admin.listening import Place
from mooring.admin.service import AdminSide
from mooring.cli.admin_client import AdminClient
from mooring.cli.admin_parts import parts_of
from mooring.gateway import Gateway, server

TOKEN = "t" * 40


@pytest.fixture
def gateway(folder: Path) -> Iterator[Gateway]:
    with server(database=f"sqlite:///{folder}/x.db", bind="tcp://127.0.0.1:0", auth="none") as gateway:
        yield gateway


@pytest.fixture
def admin(gateway: Gateway) -> Iterator[AdminClient]:
    parts = parts_of([gateway])
    with AdminSide([gateway], Place(port=0), token=TOKEN, settings="x.toml, 1 option", **parts) as side:
        yield AdminClient(side.url, TOKEN)


def say(client: Client, line: bytes) -> bytes:
    client.send(line)
    return client.recv()


def test_messages_that_a_gateway_refused_are_told_by_connection_and_by_kind(
    gateway: Gateway, admin: AdminClient
) -> None:
    with Client(gateway.addresses[0]) as good, Client(gateway.addresses[0]) as bad:
        for number, client in enumerate((good, bad), 1):
            assert b"welcome" in say(client, b'{"op":"hello","device":"meter-%d"}' % number)
        for line in (b'{"op":"nonsense"}', b"{", b'{"op":"hello","device":"another"}'):
            assert b"error" in say(bad, line)
        rows = admin.get("/connections", sort="errors", order="desc")["rows"]
        assert [(row["name"], row["errors"]) for row in rows] == [("meter-2", 3), ("meter-1", 0)]
        assert admin.get(f"/connections/{rows[0]['id']}")["row"]["errors"] == 3
    kinds = admin.get("/diagnostics")["snapshot"]["servers"][0]["errors"]["kinds"]
    assert sum(kinds.values()) == 3


def test_the_page_is_told_where_the_settings_come_from(admin: AdminClient) -> None:
    assert admin.get("/snapshot")["process"]["settings"] == "x.toml, 1 option"
