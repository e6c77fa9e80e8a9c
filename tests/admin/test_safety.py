"""Every input is hostile: tokens, other sites, other names, sizes and nonsense."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time

import pytest
from waiting import wait_until

from mooring import Server
from mooring.admin import protocol
from mooring.admin.audit import STRANGERS
from mooring.admin.auth import Allowance, Auth, Role
from mooring.admin.cookies import cookie_of
from mooring.admin.door import TRIES
from mooring.admin.guard import MOST_BODY, host_name
from mooring.admin.listening import Place, listen, parse_place
from mooring.admin.service import AdminSide
from mooring.errors import BindError

from .conftest import TOKEN, VIEWER, Asker


def test_without_a_token_nothing_is_told_but_health(admin: AdminSide) -> None:
    stranger = Asker(admin.port, None)
    for path in ("/snapshot", "/connections", "/events", "/history", "/failures", "/audit", "/trace?connection=1"):
        answer = stranger.get(f"/api/v1{path}")
        assert (answer.status, answer.json["error"]) == (401, "not_logged_in")
    assert stranger.post("/servers/meters/threads/pause").status == 401
    assert stranger.get("/livez").status == stranger.get("/").status == 200


def test_the_token_is_exchanged_for_a_strict_cookie_that_then_is_enough(admin: AdminSide) -> None:
    browser = Asker(admin.port, None)
    same = {"Sec-Fetch-Site": "same-origin"}
    answer = browser.ask("POST", "/api/v1/session", {"token": TOKEN}, same)
    assert answer.json == {"role": "operator"}
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    with_cookie = {"Cookie": cookie.partition(";")[0]}
    assert browser.ask("GET", "/api/v1/session", None, with_cookie).json == {"role": "operator"}
    # A program that has a cookie and no token, and does not say where it comes from, may change nothing.
    assert browser.ask("POST", "/api/v1/servers/meters/threads/resume", {}, with_cookie).status == 401
    assert browser.ask("POST", "/api/v1/servers/meters/threads/resume", {}, with_cookie | same).status == 200


def test_wrong_tokens_are_few(admin: AdminSide) -> None:
    stranger = Asker(admin.port, None)
    for _ in range(TRIES):
        answer = stranger.ask("POST", "/api/v1/session", {"token": "wrong"})
        assert (answer.status, answer.json["error"]) == (401, "wrong_token")
    answer = stranger.ask("POST", "/api/v1/session", {"token": TOKEN})
    assert (answer.status, answer.json["error"]) == (429, "too_many_tries")
    assert int(answer.headers["retry-after"]) > 0


def test_wrong_tokens_of_programs_are_as_few(admin: AdminSide) -> None:
    guesser = Asker(admin.port, "guess" * 8)
    for _ in range(TRIES):
        answer = guesser.get("/api/v1/snapshot")
        assert (answer.status, answer.json["error"]) == (401, "wrong_token")
    # From now on not even the right one tells that it is right, at neither door.
    for answer in (
        Asker(admin.port).get("/api/v1/snapshot"),
        Asker(admin.port, None).ask("POST", "/api/v1/session", {"token": TOKEN}),
    ):
        assert (answer.status, answer.json["error"]) == (429, "too_many_tries")
    # But health is for everybody, and the probe of a supervisor must not find the server dead.
    assert guesser.get("/livez").status == guesser.get("/metrics").status == 200
    refusals = [one for one in admin._audit.entries() if one.result == "refused: wrong token"]
    assert len(refusals) == TRIES


def test_strangers_cannot_push_others_out_of_the_audit_log(admin: AdminSide) -> None:
    Asker(admin.port).post("/servers/meters/threads/resume")
    stranger = Asker(admin.port, None)
    for _ in range(STRANGERS + 5):
        assert stranger.post("/servers/meters/threads/pause").status == 401
    evil = {"Origin": "http://evil.example"}
    assert Asker(admin.port).ask("POST", "/api/v1/drain", {}, evil).status == 403
    entries = admin._audit.entries()
    assert len(entries) == STRANGERS + 1
    assert entries[-1].who == "operator at 127.0.0.1"
    assert entries[0].result.startswith("refused: log in")


def test_a_post_of_another_site_is_in_the_audit_log(admin: AdminSide) -> None:
    Asker(admin.port).ask("POST", "/api/v1/drain", {}, {"Origin": "http://evil.example"})
    (entry,) = admin._audit.entries()
    assert (entry.who, entry.action) == ("127.0.0.1", "POST /api/v1/drain")
    assert entry.result == "refused: changes are made by this server's own page, or by a program"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
def test_a_post_from_another_site_is_refused_whatever_it_brings(
    asker: Asker, server: Server, headers: dict[str, str]
) -> None:
    answer = asker.ask("POST", "/api/v1/servers/meters/threads/pause", {}, headers)
    assert (answer.status, answer.json["error"]) == (403, "cross_site")
    assert not server.threads.paused


def test_another_site_cannot_read_either(asker: Asker) -> None:
    assert asker.get("/api/v1/snapshot", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors").status == 403
    assert asker.get("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200
    assert not [name for name in asker.get("/api/v1/snapshot").headers if name.startswith("access-control")]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7001", "", "127.0.0.1@evil", "a b", "x/y"])
def test_a_foreign_name_is_refused(asker: Asker, host: str) -> None:
    answer = asker.get("/api/v1/snapshot", Host=host)
    assert answer.status in (400, 421)


@pytest.mark.parametrize("host", ["localhost:7001", "127.0.0.1", "[::1]:7001", "a.localhost", "192.0.2.7:80"])
def test_our_own_names_are_taken(asker: Asker, host: str) -> None:
    assert asker.get("/api/v1/snapshot", Host=host).status == 200


def test_a_configured_name_is_taken(server: Server) -> None:
    with AdminSide([server], Place(port=0), token=TOKEN, hosts=["Meters.Example"]) as admin:
        assert Asker(admin.port).get("/livez", Host="meters.example:7001").status == 200


def test_every_answer_carries_the_policy(asker: Asker) -> None:
    for answer in (asker.get("/"), asker.get("/nothing"), asker.get("/livez"), asker.get("/livez", Host="evil")):
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] != "public"


def test_a_body_of_10_megabytes_is_refused_before_it_is_read(admin: AdminSide) -> None:
    with socket.create_connection(("127.0.0.1", admin.port), 5) as sock:
        head = f"POST /api/v1/drain HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        sock.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 10000000\r\n\r\n".encode())
        assert b" 413 " in sock.recv(4096)
    with socket.create_connection(("127.0.0.1", admin.port), 5) as sock:
        sock.sendall(f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
        try:
            for _ in range(MOST_BODY // 0x4000 + 2):
                sock.sendall(chunk)
            answer = sock.recv(4096)
        except ConnectionError:
            return
        assert b" 413 " in answer


@pytest.mark.parametrize(
    ("path", "body", "status", "part"),
    [
        ("/servers/meters/threads/resize", {"min_size": 9, "max_size": 3}, 422, "max_size"),
        ("/servers/meters/threads/resize", {"min_size": 0, "max_size": 0}, 422, ">= 1"),
        ("/servers/meters/threads/resize", {"min_size": "many"}, 422, "Expected `int`, got `str` - at `$.min_size`"),
        ("/servers/meters/threads/resize", {"min_size": 1e99}, 422, "min_size"),
        ("/servers/meters/threads/resize", {"min_size": 1, "maxsize": 2}, 422, "unknown field `maxsize`"),
        ("/servers/meters/threads/resize", {}, 422, "missing required field `min_size`"),
        ("/servers/nobody/threads/resize", {"min_size": 1}, 404, "there are: meters"),
        ("/servers/meters/database/resize", {"min_size": 5, "max_size": 2}, 422, "more than max_size"),
        ("/connections/12345678/close", {}, 404, "may have ended"),
        ("/connections/none/close", {}, 400, "Expected `int`"),
        ("/connections/1/send", {}, 422, "either text or hex"),
        ("/log-level", {"level": "loud"}, 422, "level"),
        ("/drain", {"timeout": -1}, 422, ">= 0"),
        ("/nothing", {}, 404, "nothing here"),
    ],
)
def test_nonsense_is_answered_by_what_is_wrong(asker: Asker, path: str, body: dict, status: int, part: str) -> None:
    answer = asker.ask("POST", f"/api/v1{path}", body)
    assert answer.status == (404 if "12345678" in path else status)
    assert part in answer.json["detail"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"nul", b"\xff\xfe", b"[" * 30_000, b'{"timeout":1e999}'])
def test_a_body_that_is_no_json_is_refused(asker: Asker, raw: bytes) -> None:
    answer = asker.ask("POST", "/api/v1/drain", raw=raw)
    assert answer.status == 422


def test_a_form_of_another_page_is_no_json(asker: Asker) -> None:
    answer = asker.ask("POST", "/api/v1/drain", raw=b"{}", headers={"Content-Type": "text/plain"})
    assert answer.status == 415


def test_a_body_that_is_no_http_is_answered_without_a_traceback(
    admin: AdminSide, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST /api/v1/log-level HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for first, body in [(b"", b"x\r\n"), (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\xff\xff\r\n")]:
        with socket.create_connection(("127.0.0.1", admin.port), 5) as sock:
            sock.sendall(first + head + b"Transfer-Encoding: chunked\r\n\r\n" + body)
            answer = b""
            while data := sock.recv(4096):
                answer += data
        assert answer.count(b"HTTP/1.1 400") == 1
    assert not [record for record in caplog.records if record.exc_info]


def test_an_unknown_query_is_refused(asker: Asker) -> None:
    assert "it takes search" in asker.get("/api/v1/connections?q=x").json["detail"]
    assert asker.get("/api/v1/connections?limit=100000").status == 400


def test_too_many_requests_have_to_wait() -> None:
    now = [100.0]
    allowance = Allowance(3, 3.0, clock=lambda: now[0])
    for _ in range(3):
        assert allowance.wait_of("a") == 0.0
        allowance.take("a")
    assert allowance.wait_of("a") == pytest.approx(1.0)
    assert allowance.wait_of("b") == 0.0
    now[0] += 1.0
    assert allowance.wait_of("a") == 0.0


def test_all_addresses_of_a_network_share_what_is_allowed() -> None:
    allowance = Allowance(1, 60.0)
    allowance.take("2001:db8::1")
    assert allowance.wait_of("2001:db8::ffff:2") > 0
    assert allowance.wait_of("2001:db8:0:1::1") == 0.0
    assert Allowance(1, 60.0).wait_of("fe80::1%eth0") == 0.0


# Slow, and many ------------------------------------------------------------------------------------------------------

HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
POST = (
    b"POST /api/v1/drain HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
    + TOKEN.encode()
    + b"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
)


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REQUEST_TIME", 0.2)


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize("begun", [b"", b"GE", HEAD, HEAD + b"X-Slow: ", POST])
def test_a_request_that_does_not_come_to_its_end_is_cut(admin: AdminSide, begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", admin.port), 20) as sock:
        sock.sendall(begun)
        told = b""
        while data := sock.recv(4096):
            told += data
    assert told.startswith(b"HTTP/1.1 408 ") if begun else told == b""


@pytest.mark.usefixtures("_hasty")
def test_a_byte_now_and_then_buys_no_time_for_the_next_request(admin: AdminSide) -> None:
    with socket.create_connection(("127.0.0.1", admin.port), 20) as sock:
        sock.sendall(HEAD + b"\r\n")
        assert b" 200 " in sock.recv(4096)
        with pytest.raises(ConnectionError):
            for byte in HEAD * 100:
                sock.sendall(bytes([byte]))
                sock.settimeout(0.02)
                try:
                    if not sock.recv(4096):
                        raise ConnectionResetError
                except TimeoutError:
                    continue


@pytest.mark.usefixtures("_hasty")
def test_a_stream_lasts_for_as_long_as_it_likes(admin: AdminSide) -> None:
    with socket.create_connection(("127.0.0.1", admin.port), 20) as sock, sock.makefile("rb") as file:
        sock.sendall(
            b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n" % TOKEN.encode()
        )
        begun = time.monotonic()
        while time.monotonic() < begun + 2 * protocol.REQUEST_TIME:
            assert file.readline()


def test_so_many_may_connect_and_who_has_owed_a_request_for_the_longest_gives_way(
    admin: AdminSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MOST_OF_AN_ADDRESS", 3)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.create_connection(("127.0.0.1", admin.port), 20)) for _ in range(3)]
        for sock in socks:
            assert is_answered(sock)
        assert Asker(admin.port).get("/livez").status == 200
        assert is_cut_off(socks[0])
        assert is_answered(socks[1])


EVENTS = f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()


def test_who_comes_when_all_are_being_answered_is_closed(admin: AdminSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MOST_CONNECTIONS", 3)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", admin.port), 20))
            sock.sendall(
                f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
            )
            assert b" 200 " in sock.recv(4096)
        late = stack.enter_context(socket.create_connection(("127.0.0.1", admin.port), 20))
        assert is_cut_off(late)
    wait_until(lambda: Asker(admin.port).get("/livez").status == 200)


def is_answered(sock: socket.socket) -> bool:
    sock.sendall(HEAD + b"\r\n")
    answer = http.client.HTTPResponse(sock)
    answer.begin()
    answer.read()
    return answer.status == 200


def is_cut_off(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_cookie_ends_is_not_forged_and_outlives_a_restart() -> None:
    now = [1000.0]
    auth = Auth(TOKEN, VIEWER, clock=lambda: now[0])
    cookie = auth.make_cookie(Role.VIEWER)
    assert auth.role_of_cookie(cookie) is Role.VIEWER
    assert Auth(TOKEN, VIEWER, clock=lambda: now[0]).role_of_cookie(cookie) is Role.VIEWER
    assert Auth("x" * 40, VIEWER, clock=lambda: now[0]).role_of_cookie(cookie) is Role.NOBODY
    assert auth.role_of_cookie("2" + cookie[1:]) is Role.NOBODY
    for nonsense in ("", ".", "a.b.c", "2.99999999999.x.", "\udcff"):
        assert auth.role_of_cookie(nonsense) is Role.NOBODY
    now[0] += 25 * 3600
    assert auth.role_of_cookie(cookie) is Role.NOBODY


def test_a_cookie_is_read_in_one_pass_whatever_stands_beside_it() -> None:
    assert cookie_of('a="\\"; mooring_1 = x.y ;b', "mooring_1") == "x.y"
    assert cookie_of("mooring_1=first; mooring_1=second", "mooring_1") == "first"
    assert cookie_of("mooring_10=a; =; mooring_1", "mooring_1") is None


def test_cookies_full_of_escapes_do_not_hold_up_the_process(admin: AdminSide) -> None:
    # The standard library's parser takes half a second for each of these, and whoever asks needs no token.
    stranger = Asker(admin.port, None)
    before = time.process_time()
    for _ in range(10):
        assert stranger.get("/api/v1/snapshot", Cookie='a="' + "\\\\" * 7000 + '"').status == 401
    assert time.process_time() - before < 2.0  # of processor time; it was 4


def test_no_token_gets_into_a_log_or_an_answer(admin: AdminSide, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    asker, stranger = Asker(admin.port), Asker(admin.port, None)
    same = {"Sec-Fetch-Site": "same-origin"}
    answers = [stranger.ask("POST", "/api/v1/session", {"token": token}, same) for token in (TOKEN, "wrong" * 9, 7)]
    answers.append(Asker(admin.port, "wrong" * 9).get("/api/v1/snapshot"))
    answers += [asker.get(f"/api/v1/{path}") for path in ("snapshot", "audit", "session")]
    assert asker.post("/log-level", level="info").status == 200
    said = caplog.text + "".join(f"{answer.headers} {answer.body!r}" for answer in answers)
    assert TOKEN not in said
    assert VIEWER not in said
    assert "wrong" * 9 not in said


def test_a_short_token_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 characters"):
        Auth("secret")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_it_refuses_to_be_reachable_without_a_token(server: Server, host: str) -> None:
    with pytest.raises(ValueError, match="give it a token with --admin-token-file"):
        AdminSide([server], Place(host, 0))


def test_metrics_of_a_reachable_one_need_the_token(server: Server) -> None:
    with AdminSide([server], Place("0.0.0.0", 0), token=TOKEN) as admin:
        assert Asker(admin.port, None).get("/metrics").status == 401
        assert Asker(admin.port).get("/metrics").status == 200


def test_a_taken_port_names_who_to_ask_and_the_default_moves_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=f"ss -ltnp 'sport = :{port}'"):
            listen(Place("127.0.0.1", port, moves=False))
        with listen(Place("127.0.0.1", port)) as moved:
            assert port < moved.getsockname()[1] <= port + 50


@pytest.mark.parametrize(
    ("text", "part"),
    [("7001", "HOST:PORT"), ("a.example:1", "IP address"), ("127.0.0.1:x", "HOST"), ("::1:99999", "HOST")],
)
def test_a_wrong_address_is_refused(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        parse_place(text)


def test_addresses_are_read() -> None:
    assert parse_place("off") is None
    assert parse_place("[::1]:7001") == Place("::1", 7001, moves=False)
    assert Place("0.0.0.0", 1).url(1) == "http://127.0.0.1:1"
    assert host_name("Meters.Example.:80") == "meters.example"
