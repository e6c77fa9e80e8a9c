"""/metrics: valid for Prometheus, true, quick, and without anything that a device chose."""

from __future__ import annotations

import socket

from certificates import Authority
from prometheus_client.parser import text_string_to_metric_families
from waiting import wait_until

from mooring import TLS, Client, Server
from mooring.threads.histogram import Histogram

from .conftest import Asker, MakeAdmin, MakeServer, ask_device


def scrape(asker: Asker) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = asker.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(answer.body.decode()))
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_metrics_are_those_of_stats(asker: Asker, server: Server, client: Client) -> None:
    for message in (b"ping", b"login meter-1", b"store 1"):
        ask_device(client, message)
    wait_until(lambda: server.stats().calls.count == 3)
    wait_until(lambda: server.threads.stats().idle == server.threads.stats().size)
    found, stats = scrape(asker), server.stats()

    def value(name: str, **labels: str) -> float:
        return found[name, frozenset({"server": "meters", **labels}.items())]

    assert value("mooring_connections") == stats.connections == 1
    assert value("mooring_accepts_total") == stats.accepted
    assert value("mooring_frames_total", dir="in") == stats.messages == 3
    assert value("mooring_frames_total", dir="out") == stats.sent == 3
    assert value("mooring_bytes_total", dir="in") == stats.bytes_received
    assert value("mooring_bytes_total", dir="out") == stats.bytes_sent
    assert value("mooring_handler_seconds_count") == 3
    assert value("mooring_handler_seconds_sum") == stats.calls.seconds
    assert value("mooring_handler_seconds_bucket", le="+Inf") == 3
    assert stats.threads is not None
    assert value("mooring_threads", state="idle") == stats.threads.idle
    assert value("mooring_queue_seconds_count") == stats.threads.waits.count
    assert server.database is not None
    assert value("mooring_pool_connections", state="idle") == server.database.stats().idle
    assert value("mooring_heartbeat_timeouts_total") == 0
    assert value("mooring_closes_total", reason="peer") == 0
    assert value("mooring_protocol_errors_total", reason="frame") == 0
    for name in ("mooring_pool_acquire_seconds", "mooring_pool_usage_seconds", "mooring_loop_lag_seconds"):
        assert any(key[0].startswith(name) for key in found), name


def test_group_commits_are_counted_together(asker: Asker, server: Server) -> None:
    pool = server.database
    assert pool is not None
    with pool.connection() as lease:
        lease.execute("CREATE TABLE points (id INTEGER PRIMARY KEY, x INTEGER)")
        lease.execute("CREATE TABLE more (id INTEGER PRIMARY KEY)")
        lease.commit()
    points, more = pool.group_commit("points", ["id", "x"]), pool.group_commit("more", ["id"])
    for pending in [points.add((1, 2)), points.add((2, 3)), more.add((1,))]:
        pending.result(20)
    found = scrape(asker)

    def value(name: str, **labels: str) -> float:
        return found[f"mooring_group_commit{name}", frozenset({"server": "meters", **labels}.items())]

    commits = sum(one.stats().commits for one in (points, more))
    assert value("s_total") == value("_seconds_count") == commits
    assert value("_rows_total") == 3
    assert value("_queue_rows") == value("_queue_bytes") == 0
    assert value("_failures_total", reason="failed") == value("_failures_total", reason="unknown") == 0
    snapshot = asker.get("/api/v1/diagnostics").json["snapshot"]
    (points_told, more_told) = snapshot["servers"][0]["database"]["group_commits"]
    assert (points_told["table"], points_told["committed"]) == ("points", 2)
    assert (more_told["table"], more_told["state"]) == ("more", "open")


def test_no_label_holds_what_a_device_chose(asker: Asker, client: Client) -> None:
    ask_device(client, b"login meter-of-mine")
    text = asker.get("/metrics").body
    assert b"meter-of-mine" not in text
    assert str(client.socket.getsockname()[1]).encode() not in text


def test_buckets_grow_and_end_with_the_count(asker: Asker, client: Client) -> None:
    ask_device(client, b"ping")
    buckets = [
        (float(dict(labels)["le"]), value)
        for (name, labels), value in scrape(asker).items()
        if name == "mooring_handler_seconds_bucket"
    ]
    bounds, counts = zip(*sorted(buckets), strict=True)
    assert list(counts) == sorted(counts)
    assert bounds[0] == float(f"{Histogram.upper_bound(25):.6g}")


def test_several_servers_are_told_apart_by_a_label(make_server: MakeServer, make_admin: MakeAdmin) -> None:
    asker = Asker(make_admin(make_server("one"), make_server("two", model="epoll")).port)
    servers = {dict(labels)["server"] for name, labels in scrape(asker) if name == "mooring_connections"}
    assert servers == {"one", "two"}


def test_handshakes_and_the_end_of_the_certificate_are_there(authority: Authority, make_admin: MakeAdmin) -> None:
    tls = TLS(authority.server.certificate, authority.server.key)
    with Server(lambda connection, message: message, bind="tls://127.0.0.1:0", tls=tls, name="safe") as server:
        with Client(server.addresses[0], tls=authority.believing) as client:
            client.send(b"hello")
            assert client.recv() == b"hello"
        with socket.create_connection(("127.0.0.1", server.port)) as plain:
            plain.sendall(b"hello")
            assert plain.recv(1) == b""
        found = scrape(Asker(make_admin(server).port))
        labels = frozenset({("server", "safe")})
        assert found["mooring_opened_total", labels] == 1
        assert found["mooring_openings", labels] == 0
        assert found["mooring_not_opened_total", labels | {("reason", "tls_not_tls")}] == 1
        expiry = found["mooring_tls_certificate_expiry_timestamp_seconds", labels]
        assert expiry == server.certificate_expires_at
