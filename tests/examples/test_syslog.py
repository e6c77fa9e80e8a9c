"""The syslog example: util-linux ``logger`` in both framings, and what hostile senders say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from example_programs import example, run_client
from waiting import wait_until

from mooring import Client, FrameError
from mooring.db import open_pool
from mooring.framing import Raw
from mooring.testing import check_framing

MODERN = b'<34>1 2026-10-11T22:14:15.003Z door.example su - ID47 [x@1 a="]\\"]" b="\\]"] \xef\xbb\xbfsomebody rang'


@pytest.fixture
def syslog(folder: Path) -> Iterator[ModuleType]:
    with example("syslog") as module:
        module.server.database = f"sqlite:///{folder}/log.db"
        yield module


def rows(server: Any, count: int) -> list[tuple[Any, ...]]:
    def read() -> list[tuple[Any, ...]]:
        with server.database.connection() as db:
            return db.execute("SELECT facility, severity, host, app, message FROM syslog ORDER BY rowid").fetchall()

    wait_until(lambda: len(read()) >= count)
    return read()


def test_logger_is_stored_counted_and_by_lines_in_the_new_form_and_the_old(syslog: ModuleType) -> None:
    with syslog.server as server:
        to = ("--tcp", "--server", "127.0.0.1", "--port", str(server.port), "--tag", "door")
        run_client("logger", *to, "--octet-count", "--priority", "auth.warning", "counted")
        run_client("logger", *to, "by a line, größer")
        run_client("logger", *to, "--octet-count", "--rfc3164", "old and counted")
        run_client("logger", *to, "--rfc3164", stdin="one\ntwo\n")
        found = [(facility, severity, app, text) for facility, severity, _, app, text in rows(server, 5)]
        assert sorted(found) == [
            (1, 5, "door", "by a line, größer"),
            (1, 5, "door", "old and counted"),
            (1, 5, "door", "one"),
            (1, 5, "door", "two"),
            (4, 4, "door", "counted"),
        ]
        assert found.index((1, 5, "door", "one")) < found.index((1, 5, "door", "two"))
        assert all(host for _, _, host, _, _ in rows(server, 5))


def test_it_is_stored_in_mariadb_too_whatever_characters_come(syslog: ModuleType, mariadb_url: str) -> None:
    syslog.server.database = mariadb_url
    with syslog.server as server, Client(server.addresses[0], framing=Raw()) as client:
        client.send(b"<13>caf\xc3\xa9 \xf0\x9f\x9a\xaa \xff\xfe\x00 \\ ' %s\n")
        wait_until(lambda: server.stats().messages == 1)
        server.stop()  # what was read is stored before the end
    with open_pool(mariadb_url) as pool, pool.connection() as db:
        assert list(db.execute("SELECT message FROM syslog")) == [("café 🚪 \ufffd\ufffd\0 \\ ' %s",)]


def test_the_framing_tells_both_kinds_apart_message_by_message(syslog: ModuleType) -> None:
    framing = syslog.Rfc6587(max_size=200)
    stream = b"4 <1>a" + b"<2>b\r\n" + b"\n" + b"5 <3>\nc" + b"\n" + b"<4>d\n" + b"10 <5>"
    check_framing(framing, stream, [b"<1>a", b"<2>b", b"<3>\nc", b"<4>d"])


@pytest.mark.parametrize(
    "noise",
    [b"0 <1>", b"12x", b"1234 ", b"201 ", b"99999", b"7" * 100, b"<1>" + b"x" * 300, b"\x16\x03\x01" + b"\0" * 300],
)
def test_what_is_no_frame_or_too_long_is_refused(syslog: ModuleType, noise: bytes) -> None:
    framing = syslog.Rfc6587(max_size=200)
    with pytest.raises(FrameError) as caught:
        framing.split(b"4 <1>a" + noise)
    assert caught.value.messages == (b"<1>a",)
    with pytest.raises(FrameError):
        rest = b""
        for byte in b"4 <1>a" + noise:
            _, rest, _ = framing.split(rest + bytes([byte]))


@pytest.mark.parametrize("message", [b"", b"x" * 8193, b"ends\n"])
def test_a_message_that_would_come_out_as_another_is_not_sent(syslog: ModuleType, message: bytes) -> None:
    with pytest.raises(FrameError):
        syslog.Rfc6587().join(message)


@pytest.mark.parametrize(
    ("message", "entry"),
    [
        (MODERN, (4, 2, "door.example", "su", "somebody rang")),
        (b"<165>1 - - - - - -", (20, 5, "", "", "")),
        (b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed", (4, 2, "mymachine", "su", "'su root' failed")),
        (b"<13>Feb  5 17:32:18 10.0.0.99 cron[12]: Use the BFG!", (1, 5, "10.0.0.99", "cron", "Use the BFG!")),
        (b"<0>", (0, 0, "", "", "")),
        (b"<13>no form at all", (1, 5, "", "", "no form at all")),
        (b"<13>1 broken", (1, 5, "", "", "1 broken")),
    ],
)
def test_both_forms_are_read(syslog: ModuleType, message: bytes, entry: tuple[Any, ...]) -> None:
    assert syslog.Entry.parse(message) == syslog.Entry(*entry)


@pytest.mark.parametrize("message", [b"GET / HTTP/1.1", b"<192>x", b"<1", b"<9999>x", b"<-1>x", b""])
def test_what_is_no_syslog_closes_the_connection(syslog: ModuleType, message: bytes) -> None:
    with pytest.raises(FrameError):
        syslog.Entry.parse(message)
    with syslog.server as server, Client(server.addresses[0], framing=Raw()) as client:
        client.send(message + b"\n<13>after it\n")
        if message:
            assert list(client) == []
