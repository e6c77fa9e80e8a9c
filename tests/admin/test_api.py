"""The API: it tells what the server's own figures say, and does what its controls promise."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import wait_until

from mooring import Client, Server
from mooring.admin.service import AdminSide
from mooring.db import open_pool

from .conftest import VIEWER, Asker, MakeAdmin, MakeServer, ask_device


def fresh(asker: Asker) -> dict:
    """Numbers of one server that nobody has seen before."""
    return asker.get("/api/v1/diagnostics").json["snapshot"]["servers"][0]


def test_every_number_is_that_of_stats(asker: Asker, server: Server, client: Client) -> None:
    for message in (b"ping", b"login meter-1", b"store 1", b"store 2"):
        ask_device(client, message)
    server.connections["meter-1"].send(b"extra")
    client.recv()
    with Client(str(server.addresses[0])) as other:
        other.send(b"fail")
        assert list(other) == []
    wait_until(lambda: server.stats().calls.count == 5 and len(server.connections) == 1)
    wait_until(lambda: not server.threads.stats().busy)
    told, stats = fresh(asker), server.stats()
    assert server.database is not None
    pool = server.database.stats()
    assert told["connections"] == {
        "open": 1, "most": 2, "limit": server._loop.arrivals.max_connections, "accepted": 2, "refused": 0,
        "refusals": {}, "offences": {},
        "accept_failures": 0, "closed": {"handler": 1},
    }  # fmt: skip
    traffic = told["traffic"]
    assert (traffic["messages_in"], traffic["messages_out"]) == (stats.messages, stats.sent) == (5, 5)
    assert (traffic["bytes_in"], traffic["bytes_out"]) == (stats.bytes_received, stats.bytes_sent)
    handlers = told["handlers"]
    assert (handlers["calls"], handlers["seconds"]) == (stats.calls.count, stats.calls.seconds)
    assert {route["name"]: route["calls"] for route in handlers["routes"]} == {
        "ping": 1,
        "login": 1,
        "store": 2,
        "fail": 1,
    }
    assert {route["name"]: route["runs"] for route in handlers["routes"]}["store"] == "pool (pinned)"
    threads = stats.threads
    assert threads is not None
    for name in ("size", "min_size", "max_size", "completed", "failed", "grown", "paused"):
        assert told["threads"][name] == getattr(threads, name)
    for name in ("min_size", "max_size", "total", "idle", "active", "acquired", "timeouts", "opened", "leaks"):
        assert told["database"][name] == getattr(pool, name)
    assert told["heartbeats"]["alive"] == 1
    assert sum(count for _, count in told["heartbeats"]["silence"]) == 1
    assert told["errors"]["failures"] == 1
    assert told["server"]["state"] == "running"
    assert told["server"]["addresses"] == [str(server.addresses[0])]


def test_an_exception_is_shown_with_its_traceback(asker: Asker, client: Client) -> None:
    client.send(b"fail")
    assert list(client) == []
    (failure,) = asker.get("/api/v1/failures").json
    assert (failure["error"], failure["count"], failure["server"]) == ("RuntimeError", 1, "meters")
    assert "raise RuntimeError" in failure["sample"]


def test_what_a_route_raised_is_counted(asker: Asker, server: Server) -> None:
    for message in (b"ping", b"fail", b"fail"):
        with Client(str(server.addresses[0])) as client:
            client.send(message)
            assert [*client] == [] if message == b"fail" else client.recv() == b"pong"
    wait_until(lambda: server.stats().calls.count == 3)
    routes = asker.get("/api/v1/diagnostics").json["snapshot"]["servers"][0]["handlers"]["routes"]
    assert {route["name"]: route["errors"] for route in routes if route["calls"]} == {"ping": 0, "fail": 2}


def test_the_table_is_searched_sorted_and_paged(asker: Asker, server: Server) -> None:
    clients = [Client(str(server.addresses[0])) for _ in range(7)]
    try:
        for number, client in enumerate(clients):
            ask_device(client, b"login Meter-%d" % number)
            for _ in range(number):
                ask_device(client, b"ping")
        page = asker.get("/api/v1/connections?search=meter&sort=messages&order=desc&limit=3&offset=1").json
        assert [row["name"] for row in page["rows"]] == ["Meter-5", "Meter-4", "Meter-3"]
        assert [row["messages"] for row in page["rows"]] == [6, 5, 4]
        assert (page["total"], page["matching"], page["offset"]) == (7, 7, 1)
        (row,) = asker.get("/api/v1/connections?search=METER-2").json["rows"]
        assert row["id"] == server.connections["Meter-2"].id
        port = clients[3].socket.getsockname()[1]
        (row,) = asker.get(f"/api/v1/connections?search=127.0.0.1:{port}").json["rows"]
        assert row["name"] == "Meter-3"
        for sort in ("id", "name", "peer", "connected", "silence", "messages", "waiting"):
            rows = asker.get(f"/api/v1/connections?sort={sort}").json["rows"]
            backwards = asker.get(f"/api/v1/connections?sort={sort}&order=desc").json["rows"]
            assert [row["id"] for row in rows] == [row["id"] for row in reversed(backwards)]
    finally:
        for client in clients:
            client.close()


def test_a_connection_is_shown_as_the_kernel_sees_it(asker: Asker, server: Server, client: Client) -> None:
    ask_device(client, b"login a")
    connection = server.connections["a"]
    told = asker.get(f"/api/v1/connections/{connection.id}").json
    assert told["row"]["name"] == "a"
    assert told["row"]["peer"] == str(connection.peer)
    assert told["local"] == str(server.addresses[0])
    assert told["bytes_in"] == len(b"login a\n")
    assert told["bytes_out"] == len(b"hello\n")
    assert told["retransmits"] == 0
    assert 0 <= told["round_trip"] < 10


def test_the_thread_pool_is_resized_paused_and_resumed(asker: Asker, server: Server) -> None:
    path = "/servers/meters/threads"
    assert asker.post(f"{path}/resize", min_size=3, max_size=5).json == {"done": True, "detail": "3 to 5 threads"}
    assert (server.threads.stats().min_size, server.threads.stats().max_size) == (3, 5)
    asker.post(f"{path}/pause")
    assert server.threads.paused
    assert asker.get("/readyz").status == 503
    assert b"meters:threads failed: paused" in asker.get("/readyz").body
    asker.post(f"{path}/resume")
    assert not server.threads.paused
    assert len(asker.get(f"/api/v1{path}").json) == len(server.threads.dump())


def test_the_database_is_resized_and_evicted(make_server: MakeServer, make_admin: MakeAdmin) -> None:
    server = make_server()
    asker = Asker(make_admin(server).port)
    assert server.database is not None
    assert asker.post("/servers/meters/database/resize", min_size=0, max_size=1).status == 200
    assert server.database.stats().max_size == 1
    assert asker.post("/servers/meters/database/evict").status == 200


def test_a_connection_is_closed_or_reset_and_sent_a_message(asker: Asker, server: Server) -> None:
    for abort in (False, True):
        with Client(str(server.addresses[0])) as client:
            ask_device(client, b"login a")
            number = server.connections["a"].id
            assert asker.post(f"/connections/{number}/send", text="hi").status == 200
            assert client.recv() == b"hi"
            assert asker.post(f"/connections/{number}/send", hex="61 62").status == 200
            assert client.recv() == b"ab"
            assert asker.post(f"/connections/{number}/close", abort=abort).status == 200
            wait_until(lambda: "a" not in server.connections)
            assert asker.post(f"/connections/{number}/close").json["error"] == "unknown_connection"


def test_accepting_is_suspended_and_resumed(asker: Asker, server: Server) -> None:
    assert asker.post("/servers/meters/accepting", accepting=False).status == 200
    assert fresh(asker)["server"]["state"] == "suspended"
    assert b"[-]meters:accepting failed" in asker.get("/readyz?verbose").body
    with Client(str(server.addresses[0])) as waiting:
        waiting.send(b"ping")
        assert asker.post("/servers/meters/accepting", accepting=True).status == 200
        assert waiting.recv() == b"pong"


def test_one_listener_is_suspended_and_the_others_go_on(
    make_server: MakeServer, make_admin: MakeAdmin, folder: Path
) -> None:
    server = make_server(bind=["tcp://127.0.0.1:0", f"unix:{folder}/s"])
    asker = Asker(make_admin(server).port)
    address = str(server.addresses[0])
    assert asker.post("/servers/meters/accepting", accepting=False, address=address).status == 200
    told = fresh(asker)["server"]
    assert (told["state"], told["accepting"]) == ("running", True)
    assert [(one["address"], one["accepting"]) for one in told["listeners"]] == [
        (address, False),
        (f"unix:{folder}/s", True),
    ]
    alerts = asker.get("/api/v1/diagnostics").json["snapshot"]["alerts"]
    assert f"accepting is suspended on {address}" in [alert["text"] for alert in alerts]
    assert asker.get("/readyz").status == 200
    metrics = asker.get("/metrics").body.decode()
    assert f'mooring_accepting{{listener="{address}",server="meters"}} 0.0' in metrics
    answer = asker.post("/servers/meters/accepting", accepting=False, address="tcp://127.0.0.1:1")
    assert (answer.status, answer.json["error"]) == (404, "unknown_listener")
    assert asker.post("/servers/meters/accepting", accepting=True).status == 200
    assert server.stats().listeners[0].accepting


def test_drain_ends_every_server(make_server: MakeServer, make_admin: MakeAdmin) -> None:
    servers = [make_server("one"), make_server("two")]
    asker = Asker(make_admin(*servers).port)
    assert asker.post("/drain", timeout=5).status == 200
    for server in servers:
        server.wait_stopped()
    assert asker.get("/readyz").status == 503


def test_a_command_is_stored_by_whoever_can(make_server: MakeServer, make_admin: MakeAdmin) -> None:
    stored: list[tuple] = []

    def send(server: Server, device: str, data: object, expires: float) -> str:
        if device == "nobody":
            raise KeyError(device)
        stored.append((server.name, device, data, expires))
        return "command 7"

    asker = Asker(make_admin(make_server(), send_command=send, has_commands=lambda server: True).port)
    path = "/servers/meters/devices/meter%20%2F1/commands"
    assert asker.post(path, data={"reboot": True}, expires=60).json["detail"] == "command 7"
    assert stored == [("meters", "meter /1", {"reboot": True}, 60.0)]
    assert asker.post("/servers/meters/devices/nobody/commands", data=1).json["error"] == "unknown_device"


def test_a_server_without_commands_says_so(asker: Asker) -> None:
    answer = asker.post("/servers/meters/devices/a/commands", data=1)
    assert (answer.status, answer.json["error"]) == (409, "no_commands")


def test_the_log_level_is_changed_for_a_while(asker: Asker) -> None:
    before = logging.getLogger("mooring").level
    assert asker.post("/log-level", level="debug", seconds=0.05).status == 200
    wait_until(lambda: logging.getLogger("mooring").level == before)
    asker.post("/log-level", level="debug", seconds=60)
    assert logging.getLogger("mooring").level == logging.DEBUG
    assert asker.get("/api/v1/diagnostics").json["snapshot"]["log_level"] == "debug"


def test_ending_the_admin_side_restores_the_log_level(server: Server, make_admin: MakeAdmin) -> None:
    before = logging.getLogger("mooring").level
    admin = make_admin(server)
    Asker(admin.port).post("/log-level", level="error", seconds=60)
    admin.stop()
    assert logging.getLogger("mooring").level == before


def test_what_is_done_is_in_the_audit_log(asker: Asker, caplog: pytest.LogCaptureFixture) -> None:
    asker.post("/servers/meters/threads/resize", min_size=1, max_size=2)
    asker.post("/connections/999999/close")
    refused, done = asker.get("/api/v1/audit").json[:2]
    assert (done["action"], done["who"]) == ("resize_threads", "operator at 127.0.0.1")
    assert done["arguments"] == {"server": "meters", "min_size": 1, "max_size": 2}
    assert refused["result"].startswith("refused: there is no connection 999999")
    lines = [record.getMessage() for record in caplog.records if record.name == "mooring.audit"]
    assert lines[0].startswith(
        "resize_threads by operator at 127.0.0.1 (server='meters' min_size=1 max_size=2): 1 to 2"
    )


def test_the_stream_brings_a_snapshot_each_second_and_ends_with_the_admin_side(
    admin: AdminSide, asker: Asker, server: Server
) -> None:
    got: list[dict] = []
    ended = threading.Event()

    def read() -> None:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", admin.port, timeout=30)
        connection.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {asker.token}"})
        answer = connection.getresponse()
        try:
            for line in answer:
                if line.startswith(b"data: "):
                    got.append(json.loads(line[6:]))
        except http.client.IncompleteRead:
            pass
        connection.close()
        ended.set()

    thread = threading.Thread(target=read)
    thread.start()
    wait_until(lambda: len(got) >= 2)
    assert got[1]["number"] > got[0]["number"]
    admin.stop()
    assert ended.wait(5)
    thread.join()


def test_a_trace_streams_what_the_tap_hands_over(make_server: MakeServer, make_admin: MakeAdmin) -> None:
    puts: list[Callable[[dict], None]] = []
    stopped = threading.Event()

    def tap(**whom: object) -> Callable[[], None]:
        if whom["device"] == "nobody":
            raise KeyError
        put = whom["put"]
        assert callable(put)
        puts.append(put)
        threading.Thread(target=lambda: [put({"time": 1.5, "hex": f"{n:02x}"}) for n in range(3)]).start()
        return stopped.set

    asker = Asker(make_admin(make_server(), tap=tap).port)
    answer = asker.get("/api/v1/trace?device=meter-1&seconds=0.5")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.body.count(b"event: frame") == 3
    assert answer.body.rstrip().endswith(b"event: end\ndata: {}")
    assert stopped.wait(10)
    assert asker.get("/api/v1/trace?device=nobody").json["error"] == "unknown_connection"
    assert asker.get("/api/v1/trace").status == 400


def test_a_viewer_may_look_and_change_nothing(admin: AdminSide, server: Server) -> None:
    viewer = Asker(admin.port, VIEWER)
    assert viewer.get("/api/v1/snapshot").status == 200
    answer = viewer.post("/servers/meters/threads/pause")
    assert (answer.status, answer.json["error"]) == (403, "may_only_look")
    assert not server.threads.paused
    assert viewer.get("/api/v1/trace?connection=1").status == 403  # it shows what devices say


def test_health_tells_what_is_wrong_and_livez_only_of_the_loop(asker: Asker, server: Server) -> None:
    assert asker.get("/livez").body == b"ok\n"
    assert asker.get("/readyz").body == b"ok\n"
    assert b"[+]meters:database ok" in asker.get("/readyz?verbose").body
    assert server.database is not None
    with server.database._ledger.mutex:
        server.database._ledger.health.note_failure(0.0, 0.0, OSError("away"), "connection refused", fatal=False)
    assert asker.get("/livez").status == 200
    answer = asker.get("/readyz")
    assert answer.status == 503
    assert b"[-]meters:database failed" in answer.body
    assert asker.get("/readyz?exclude=database").status == 200
    assert set(asker.get("/version").json) == {"version", "python", "gil"}


def test_a_database_that_is_there_and_takes_nothing_makes_the_server_unready_while_rows_wait(
    folder: Path, make_server: MakeServer, make_admin: MakeAdmin
) -> None:
    database = open_pool(f"sqlite:///{folder}/full.db", min_size=1, max_size=1)
    asker = Asker(make_admin(make_server(database=database)).port)
    with database.connection() as lease:
        lease.execute("CREATE TABLE readings (value TEXT)")
        # SQLite's own limit of pages gives the very error of a full disk.
        lease.execute("PRAGMA max_page_count = 1")
    pending = database.group_commit("readings", ["value"], writers=1).add(("x" * 100_000,))
    wait_until(lambda: asker.get("/readyz").status == 503)
    assert (
        b"[-]meters:storing failed: rows wait: OperationalError: database or disk is full" in asker.get("/readyz").body
    )
    assert asker.get("/livez").status == 200
    with database.connection() as lease:
        lease.execute("PRAGMA max_page_count = 1000000")
    pending.result(20)
    assert b"[+]meters:storing ok" in asker.get("/readyz?verbose").body


def test_servers_without_names_are_numbered(make_server: MakeServer, make_admin: MakeAdmin) -> None:
    asker = Asker(make_admin(make_server(""), make_server("same"), make_server("same"), make_server("x/y")).port)
    servers = asker.get("/api/v1/snapshot").json["servers"]
    assert [one["server"]["id"] for one in servers] == ["1", "2", "3", "4"]
