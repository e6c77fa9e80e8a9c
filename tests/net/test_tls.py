"""TLS on real sockets: what is refused at the start and in the handshake, and the traps of a layer in between."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import select
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from certificates import DAY, Authority, Pair
from cryptography import x509
from drains import stopping
from waiting import wait_until

from mooring import TLS, BindError, Client, CloseReason, Connection, ConnectionClosed, Server
from mooring.framing import LengthPrefixed, Lines
from mooring.net.tls.client import TLSClientSocket

RESET = struct.pack("ii", 1, 0)


def echo(connection: Connection, message: bytes) -> bytes:
    return message


@pytest.fixture(params=["hybrid", "threads"])
def model(request: pytest.FixtureRequest) -> str:
    """Who reads: the loop, or a thread for each connection."""
    return str(request.param)


@pytest.fixture(autouse=True)
def short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mooring.net.deadlines.timeouts.LINGER_TIMEOUT", 0.1)


class Serve:
    """Starts servers that speak TLS, and connects to them; all is closed at the end of the test."""

    def __init__(self, authority: Authority, stack: contextlib.ExitStack) -> None:
        self.authority = authority
        self._stack = stack

    def __call__(
        self, handler: Any = echo, *, pair: Pair | None = None, tls: dict[str, Any] | None = None, **options: Any
    ) -> Server:
        pair = pair or self.authority.server
        options.setdefault("bind", "tls://127.0.0.1:0")
        server = Server(handler, tls=TLS(pair.certificate, pair.key, **(tls or {})), **options)
        return self._stack.enter_context(server)

    def client(self, server: Server, context: Any = None, **options: Any) -> Client:
        return self._stack.enter_context(
            Client(server.addresses[0], tls=context or self.authority.believing, **options)
        )

    def raw(self, server: Server) -> socket.socket:
        """A plain socket on the port."""
        return self._stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))


@pytest.fixture
def serve(authority: Authority) -> Iterator[Serve]:
    with contextlib.ExitStack() as stack:
        yield Serve(authority, stack)


def is_open(client: Client) -> bool:
    client.send(b"are you there?")
    return client.recv() == b"are you there?"


def end_of(sock: socket.socket) -> bytes:
    """All that comes until the end, however it comes."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            data += piece
    return data


# The files ------------------------------------------------------------------------------------------------------------


def refusal(tls: TLS) -> str:
    with pytest.raises(BindError) as caught:
        Server(echo, bind="tls://127.0.0.1:0", tls=tls).initialize()
    return str(caught.value)


def test_a_certificate_or_key_of_no_use_refuses_the_start_with_the_file_and_the_reason(
    authority: Authority, folder: Path
) -> None:
    good = authority.server
    other = authority.sign("other")
    expired = authority.sign("expired", begin=-3 * DAY, end=-DAY)
    early = authority.sign("early", begin=DAY)
    locked = authority.sign("locked", password=b"secret")
    empty = folder / "empty.pem"
    empty.write_text("nothing")
    assert f"{folder}/none.pem: no such file" in refusal(TLS(folder / "none.pem"))
    assert f"{empty}: there is no certificate" in refusal(TLS(empty, good.key))
    assert f"{empty}: there is no private key" in refusal(TLS(good.certificate, empty))
    assert "there is no private key" in refusal(TLS(good.certificate))
    assert f"it is not the key of the certificate {good.certificate}" in refusal(TLS(good.certificate, other.key))
    assert "expired" in refusal(TLS(expired.certificate, expired.key))
    assert "not yet valid" in refusal(TLS(early.certificate, early.key))
    assert "it has a password" in refusal(TLS(locked.certificate, locked.key))
    assert f"client_ca {empty}" in refusal(TLS(good.certificate, good.key, client_ca=empty))
    garbled = folder / "garbled.pem"
    garbled.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert str(garbled) in refusal(TLS(garbled, good.key))


def test_a_key_that_cannot_be_read_says_so(authority: Authority, folder: Path) -> None:
    assert f"key {folder}: is a directory" in refusal(TLS(authority.server.certificate, folder))


def test_certificate_and_key_may_lie_in_one_file(serve: Serve, folder: Path) -> None:
    pair = serve.authority.server
    both = folder / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    with Server(echo, bind="tls://127.0.0.1:0", tls=TLS(both)) as server:
        assert is_open(serve.client(server))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"minimum": "TLSv1.1"}, "TLSv1.2, TLSv1.3"),
        ({"handshake_timeout": 0}, "handshake_timeout"),
        ({"handshake_timeout": -1.0}, "handshake_timeout"),
        ({"alpn": ("",)}, "alpn"),
        ({"alpn": "http/1.1"}, "alpn"),
        ({"key": 5}, "key"),
        ({"certificate": ""}, "certificate"),
    ],
)
def test_wrong_arguments_are_refused_when_they_are_given(options: dict[str, Any], error: str) -> None:
    with pytest.raises((ValueError, TypeError), match=error):
        TLS(**{"certificate": "server.pem", **options})


def test_tls_goes_with_tls_addresses_and_the_other_way_round() -> None:
    tls = TLS("server.pem")
    with pytest.raises(ValueError, match=r"tls://127.0.0.1:7443 needs a certificate"):
        Server(echo, bind="tls://127.0.0.1:7443")
    with pytest.raises(ValueError, match=r"nothing would be encrypted on tcp://127.0.0.1:7000"):
        Server(echo, tls=tls)
    with pytest.raises(TypeError, match=r"tls is 'server.pem'"):
        Server(echo, bind="tls://127.0.0.1:7443", tls="server.pem")  # type: ignore[arg-type]
    server = Server(echo, bind="tls://127.0.0.1:7443", tls=tls)
    with pytest.raises(ValueError, match="nothing would be encrypted"):
        server.reconfigure(bind="tcp://127.0.0.1:7000")
    server.reconfigure(bind="tcp://127.0.0.1:7000", tls=None)


def test_plain_and_encrypted_addresses_stand_side_by_side(serve: Serve) -> None:
    server = serve(bind=["tls://127.0.0.1:0", "tcp://127.0.0.1:0"])
    encrypted, plain = server.addresses
    assert str(encrypted).startswith("tls://127.0.0.1:")
    assert str(plain).startswith("tcp://127.0.0.1:")
    assert is_open(serve.client(server))
    with Client(plain) as client:
        assert is_open(client)
    assert ("tls", f"{serve.authority.server.certificate}, valid until") in [
        (word, value[: value.index("until") + 5]) for word, value, _ in server.facts() if word == "tls"
    ]


# Reload ---------------------------------------------------------------------------------------------------------------


def serial_of(client: Client) -> str:
    layer: Any = client.socket
    return str(layer.ssl.getpeercert()["serialNumber"])


def test_a_reload_gives_new_connections_the_new_certificate_and_the_old_ones_stay(serve: Serve) -> None:
    pair = serve.authority.local("reloaded")
    server = serve(pair=pair)
    before = serve.client(server)
    serve.authority.local("reloaded")  # into the same files
    server.reload_tls()
    after = serve.client(server)
    assert serial_of(before) != serial_of(after)
    assert is_open(before)
    assert is_open(after)
    other = serve.authority.local("elsewhere")
    server.reload_tls(TLS(other.certificate, other.key))
    assert serial_of(serve.client(server)) not in (serial_of(before), serial_of(after))


def test_a_reload_of_broken_files_keeps_the_old_certificate(serve: Serve) -> None:
    pair = serve.authority.local("broken")
    server = serve(pair=pair)
    serial = serial_of(serve.client(server))
    pair.certificate.write_text("half a certif")
    with pytest.raises(BindError, match="there is no certificate"):
        server.reload_tls()
    assert serial_of(serve.client(server)) == serial


def test_a_server_without_tls_has_nothing_to_reload() -> None:
    with Server(echo, bind="tcp://127.0.0.1:0") as server, pytest.raises(RuntimeError, match="speaks no TLS"):
        server.reload_tls()


# The handshake --------------------------------------------------------------------------------------------------------


def test_a_handshake_that_comes_byte_by_byte_is_a_handshake(serve: Serve) -> None:
    server = serve()
    sock = serve.raw(server)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    side = serve.authority.believing.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    done = False
    while not done or outgoing.pending:
        try:
            if not done:
                side.do_handshake()
                done = True
                side.write(b"hello\n")
        except ssl.SSLWantReadError:
            pass
        for byte in outgoing.read():
            sock.sendall(bytes([byte]))
        if not done:
            incoming.write(sock.recv(65536))
    while True:
        try:
            assert side.read(100) == b"hello\n"
            break
        except ssl.SSLWantReadError:
            incoming.write(sock.recv(65536))


def test_a_silent_client_is_closed_after_the_handshake_timeout_and_the_line_names_it(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = serve(tls={"handshake_timeout": 0.1})
    assert end_of(serve.raw(server)) == b""
    assert server.stats().not_opened == {"tls_timeout": 1}
    assert "not done within 0.1 s (tls.handshake_timeout)" in caplog.text


@pytest.mark.parametrize(
    ("said", "shown"),
    [(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "plain HTTP"), (b'{"op":"hello"}\n', "no TLS"), (b"\0", "no TLS")],
)
def test_who_speaks_no_tls_is_closed_with_a_clear_line_and_nobody_else_is_touched(
    serve: Serve, caplog: pytest.LogCaptureFixture, said: bytes, shown: str
) -> None:
    caplog.set_level(logging.INFO)
    server = serve()
    other = serve.client(server)
    sock = serve.raw(server)
    sock.sendall(said)
    assert end_of(sock) == b""
    assert f"the peer speaks {shown}" in caplog.text
    wait_until(lambda: server.stats().not_opened == {"tls_not_tls": 1})  # the alert is quicker than the count
    assert is_open(other)


@pytest.mark.parametrize("framing", [Lines(), LengthPrefixed()])
def test_a_client_that_begins_tls_on_a_plain_address_is_closed_at_once_with_a_clear_line(
    authority: Authority, caplog: pytest.LogCaptureFixture, framing: Any
) -> None:
    caplog.set_level(logging.INFO)
    with Server(echo, bind="tcp://127.0.0.1:0", framing=framing) as server:
        sock = socket.create_connection(("127.0.0.1", server.port), 10)
        with pytest.raises(OSError):
            TLSClientSocket(sock, authority.believing, "localhost")
        wait_until(lambda: server.stats().closed == {CloseReason.FRAME: 1})
        assert "the peer speaks TLS, and this address does not" in caplog.text
        with Client(server.addresses[0], framing=framing) as client:
            assert is_open(client)


@pytest.mark.parametrize("version", ["TLSv1_1", "TLSv1_2"])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_are_refused(serve: Serve, caplog: pytest.LogCaptureFixture, version: str) -> None:
    caplog.set_level(logging.INFO)
    minimum = "TLSv1.2" if version == "TLSv1_1" else "TLSv1.3"
    server = serve(tls={"minimum": minimum})
    context = serve.authority.context()
    context.set_ciphers("ALL:@SECLEVEL=0")  # or OpenSSL would not even ask
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    with pytest.raises(ssl.SSLError):
        serve.client(server, context)
    wait_until(lambda: server.stats().not_opened == {"tls_version": 1})
    assert "no version of TLS that is allowed here (tls.minimum)" in caplog.text


def test_the_names_of_protocols_are_agreed_upon(serve: Serve) -> None:
    server = serve(tls={"alpn": ("meters/2", "meters/1")})
    context = serve.authority.context()
    context.set_alpn_protocols(["meters/1", "other"])
    layer: Any = serve.client(server, context).socket
    assert layer.ssl.selected_alpn_protocol() == "meters/1"
    layer = serve.client(server).socket  # who asks for none is served as well
    assert layer.ssl.selected_alpn_protocol() is None


def test_a_client_believes_only_its_authority_and_the_right_name(serve: Serve, folder: Path) -> None:
    server = serve()
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(server.addresses[0])  # the system's authorities know nothing of ours
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(server.addresses[0], tls=Authority(folder, "Somebody else").certificate)
    elsewhere = serve.authority.sign("elsewhere.example", [x509.DNSName("elsewhere.example")])
    with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        serve.client(serve(pair=elsewhere))
    with pytest.raises(ValueError, match="write tls://"):
        Client("tcp://127.0.0.1:7000", tls=True)
    with pytest.raises(OSError, match="cannot be used as a CA"):
        Client(server.addresses[0], tls=folder / "none.pem")
    wait_until(lambda: server.stats().not_opened == {"tls_refused": 2})


def test_a_reset_in_the_handshake_leaves_nothing(serve: Serve) -> None:
    server = serve()
    sock = serve.raw(server)
    sock.sendall(b"\x16\x03\x01")
    wait_until(lambda: server.stats().opening == 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()
    wait_until(lambda: server.stats().not_opened == {"tls_reset": 1})


# Client certificates --------------------------------------------------------------------------------------------------


def test_a_client_with_a_certificate_is_known_by_its_names(serve: Serve, model: str) -> None:
    def handler(connection: Connection, message: bytes) -> bytes:
        known = connection.peer_certificate
        assert known is not None
        return repr((known.common_name, known.dns_names, known.uris, known.names)).encode()

    server = serve(handler, model=model, tls={"client_ca": serve.authority.certificate})
    names = [x509.DNSName("m7.example"), x509.UniformResourceIdentifier("urn:meter:7")]
    pair = serve.authority.sign("meter-7", names)
    client = serve.client(server, serve.authority.context(pair))
    client.send(b"who am I?")
    everything = ("meter-7", "m7.example", "urn:meter:7")
    assert client.recv() == repr(("meter-7", ("m7.example",), ("urn:meter:7",), everything)).encode()
    (connection,) = server.connections
    known = connection.peer_certificate
    assert known is not None
    whole = ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())
    assert known.fingerprint == hashlib.sha256(whole).hexdigest()
    assert known.serial == f"{x509.load_der_x509_certificate(whole).serial_number:X}".zfill(len(known.serial))
    assert known.not_after == x509.load_der_x509_certificate(whole).not_valid_after_utc.timestamp()


def test_without_a_certificate_of_the_right_authority_nobody_gets_in(
    serve: Serve, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = serve(tls={"client_ca": serve.authority.certificate})
    stranger = Authority(folder, "Somebody else").sign("stranger")
    old = serve.authority.sign("old", begin=-3 * DAY, end=-DAY)
    for context in (serve.authority.believing, serve.authority.context(stranger), serve.authority.context(old)):
        with pytest.raises((ssl.SSLError, OSError, ConnectionClosed)):
            is_open(serve.client(server, context))
    wait_until(lambda: server.stats().not_opened == {"tls_certificate": 3})  # the alert is quicker than the count
    assert "the peer has no certificate" in caplog.text
    assert "the peer's certificate was refused: certificate has expired" in caplog.text
    assert len(server.connections) == 0


def test_a_plain_connection_has_no_certificate(serve: Serve) -> None:
    server = serve()
    serve.client(server)
    wait_until(lambda: len(server.connections) == 1)
    assert next(iter(server.connections)).peer_certificate is None


# The layer ------------------------------------------------------------------------------------------------------------


def test_what_comes_with_the_end_of_the_handshake_is_not_forgotten(serve: Serve, model: str) -> None:
    server = serve(model=model)
    for _ in range(20):
        sock = serve.raw(server)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        side = serve.authority.believing.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        while True:
            try:
                side.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        side.write(b"at once\n")
        sock.sendall(outgoing.read())  # Finished and the first message in one piece
        while True:
            try:
                assert side.read(100) == b"at once\n"
                break
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))


def test_many_records_in_one_read_are_all_served_though_nothing_more_comes(serve: Serve, model: str) -> None:
    server = serve(model=model)
    client = serve.client(server)
    layer: Any = client.socket
    for number in range(2000):
        layer.ssl.write(b"%d\n" % number)  # a record each
    layer._leave()
    assert [client.recv() for _ in range(2000)] == [b"%d" % number for number in range(2000)]


def test_the_last_messages_and_the_end_in_one_piece_are_both_seen(serve: Serve, model: str) -> None:
    """The kernel has nothing more to tell then: the peer waits for our end, and sends no FIN."""
    server = serve(model=model)
    client = serve.client(server)
    layer: Any = client.socket
    layer.ssl.write(b"one\ntwo\n")
    with contextlib.suppress(ssl.SSLError):
        layer.ssl.unwrap()
    layer._leave()
    assert list(client) == [b"one", b"two"]
    wait_until(lambda: server.stats().closed == {CloseReason.PEER: 1})


def test_an_end_without_close_notify_is_told_apart_in_the_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve()
    polite, rude = serve.client(server), serve.client(server)
    assert is_open(polite)
    assert is_open(rude)
    polite.send_eof()
    assert list(polite) == []
    assert "close_notify" not in caplog.text
    layer: Any = rude.socket
    layer.behind.shutdown(socket.SHUT_WR)
    assert list(rude) == []
    wait_until(lambda: "its end came without TLS's close_notify" in caplog.text)


def test_our_end_is_said_by_close_notify_after_the_replies_that_are_owed(serve: Serve, model: str) -> None:
    pending: Future[bytes] = Future()
    asked = threading.Event()

    def handler(connection: Connection, message: bytes) -> Future[bytes]:
        asked.set()
        return pending

    server = serve(handler, model=model)
    client = serve.client(server)
    client.send(b"question")
    assert asked.wait(10)
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    wait_until(lambda: server.state == "stopping")
    pending.set_result(b"answer")
    assert list(client) == [b"answer"]  # a FIN without close_notify would be a reset for this client
    client.close()
    stopper.join(10)


def test_garbage_in_the_stream_breaks_one_connection_off(serve: Serve, model: str) -> None:
    server = serve(model=model)
    other, client = serve.client(server), serve.client(server)
    assert is_open(client)
    layer: Any = client.socket
    layer.behind.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        client.recv()
    wait_until(lambda: server.stats().closed == {CloseReason.RESET: 1})
    assert is_open(other)


def test_a_record_that_has_begun_must_be_complete_within_the_frame_timeout(serve: Serve, model: str) -> None:
    server = serve(model=model, frame_timeout=0.2, idle_timeout=60)
    client = serve.client(server)
    assert is_open(client)
    layer: Any = client.socket
    layer.behind.sendall(b"\x17\x03\x03\x40\x00")
    for _ in range(100):
        try:
            layer.behind.sendall(b"x")
        except OSError:
            break
        if server.stats().closed:
            break
        threading.Event().wait(0.02)
    wait_until(lambda: server.stats().closed == {CloseReason.FRAME: 1})


def test_bytes_of_a_record_that_is_not_complete_are_life(serve: Serve) -> None:
    server = serve(idle_timeout=0.4, first_message_timeout=None)
    client = serve.client(server)
    layer: Any = client.socket
    layer.ssl.write(b"slowly\n")
    whole = layer._outgoing.read()
    for at in range(len(whole)):
        layer.behind.sendall(whole[at : at + 1])
        threading.Event().wait(0.02)  # more than 0.4 s in all
    assert client.recv() == b"slowly"


def test_large_messages_cross_while_both_sides_read_slowly(serve: Serve, model: str) -> None:
    """The client reads only when it cannot write, so that the kernel is full on both ways, in the midst of records."""
    framing = LengthPrefixed(max_size=1 << 20)
    server = serve(model=model, framing=framing)
    layer: Any = serve.client(server).socket
    sock, side = layer.behind, layer.ssl
    sock.setblocking(False)
    messages = [bytes([number]) * (number * 2000 + 1) for number in range(100)]
    stream = b"".join(map(framing.join, messages))
    written, cipher, received = 0, b"", []
    while sum(map(len, received)) < len(stream):
        if not cipher and written < len(stream):
            written += side.write(stream[written : written + 50_000])
            cipher = layer._outgoing.read()
        _, writable, _ = select.select([sock], [sock] if cipher else [], [], 10)
        if writable:
            cipher = cipher[sock.send(cipher) :]
            continue
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            layer._incoming.write(sock.recv(100_000))
            while piece := side.read(65536):
                received.append(piece)
    assert b"".join(received) == stream


def test_sends_of_many_threads_beside_replies_never_break_a_record(serve: Serve, model: str) -> None:
    server = serve(model=model, outbox_limit=1 << 26)
    client = serve.client(server)
    assert is_open(client)
    (connection,) = server.connections

    def push(letter: bytes) -> None:
        for _ in range(300):
            connection.send(letter * 3000)

    threads = [threading.Thread(target=push, args=(bytes([letter]),)) for letter in b"abc"]
    for thread in threads:
        thread.start()
    client.send(*[b"r" * 3000] * 300)
    for _ in range(1200):
        message = client.recv()
        assert message == message[:1] * 3000
    for thread in threads:
        thread.join()


def test_who_sends_and_closes_without_reading_is_served(serve: Serve, model: str) -> None:
    """Its kernel answers our ticket with a reset: the handshake, and what was said before it, count all the same."""
    seen = []

    def handler(connection: Connection, message: bytes) -> None:
        seen.append(message)

    server = serve(handler, model=model)
    for number in range(30):
        with Client(server.addresses[0], tls=serve.authority.believing) as client:
            client.send(b"%d" % number)
    wait_until(lambda: len(seen) == 30)


def test_a_reader_that_takes_nothing_is_reset_after_the_write_timeout(serve: Serve, model: str) -> None:
    server = serve(lambda connection, message: b"x" * 60_000, model=model, write_timeout=0.3)
    client = serve.client(server)
    client.send(*[b"more"] * 500)
    wait_until(lambda: server.stats().closed == {CloseReason.STALLED: 1})


# Clients that we did not write ----------------------------------------------------------------------------------------


def s_client(server: Server, *options: str, said: bytes) -> tuple[bytes, bytes]:
    """What ``openssl s_client`` printed; its input stays open until it ends by itself."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", *options]
    done = subprocess.run(command, input=said, capture_output=True, timeout=30, check=False)
    return done.stdout, done.stderr


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssls_client_verifies_us_and_is_answered(serve: Serve, version: str) -> None:
    def handler(connection: Connection, message: bytes) -> bytes:
        connection.close()
        return message

    server = serve(handler)
    authority = str(serve.authority.certificate)
    out, err = s_client(
        server, version, "-quiet", "-verify_return_error", "-CAfile", authority, "-verify_ip", "127.0.0.1", said=b"hi\n"
    )
    assert out == b"hi\n", err
    wait_until(lambda: server.stats().closed == {CloseReason.LOCAL: 1})


class Interactive:
    """``openssl s_client`` that takes commands: a letter alone in a line, read alone."""

    def __init__(self, server: Server, *options: str) -> None:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-noservername", *options]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, bufsize=0)
        self.said = b""

    def say(self, line: bytes, answer: bytes) -> None:
        """Say something, and read until the answer is there."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + b"\n")
        before = len(self.said)
        while answer not in self.said[before:]:
            piece = self.process.stdout.read(65536)
            if not piece:
                break
            self.said += piece
        assert answer in self.said[before:], self.said

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def interactive() -> Iterator[Callable[..., Interactive]]:
    with contextlib.ExitStack() as stack:

        def start(server: Server, *options: str) -> Interactive:
            return stack.enter_context(contextlib.closing(Interactive(server, *options)))

        yield start


def test_renegotiation_is_refused_and_others_are_served(serve: Serve, interactive: Callable[..., Interactive]) -> None:
    server = serve()
    client = interactive(server, "-tls1_2")
    client.say(b"hello", b"hello")
    client.say(b"R", b"no renegotiation")
    assert is_open(serve.client(server))


def test_key_updates_are_answered_and_the_connection_goes_on(
    serve: Serve, interactive: Callable[..., Interactive]
) -> None:
    client = interactive(serve(), "-tls1_3")
    for number in range(3):
        client.say(b"K", b"KEYUPDATE")
        client.say(b"hello %d" % number, b"hello %d" % number)


# A drain --------------------------------------------------------------------------------------------------------------


class HalfHello:
    """A client whose handshake stops in the middle of its first record, until it is told to go on."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._socket = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")
        with contextlib.suppress(ssl.SSLWantReadError):
            self._ssl.do_handshake()
        self._hello = self._outgoing.read()
        sock.sendall(self._hello[:100])

    def go_on(self) -> None:
        """Finish the handshake."""
        self._socket.sendall(self._hello[100:])
        self._drive(self._ssl.do_handshake)

    def ask(self, message: bytes) -> bytes:
        self._ssl.write(message)
        return self._drive(lambda: self._ssl.read(100))

    def end(self) -> str:
        """How the server ends it: "said" if in TLS's own words."""
        try:
            return "read" if self._drive(lambda: self._ssl.read(100)) else "said"
        except ssl.SSLZeroReturnError:
            return "said"

    def _drive(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                data = self._outgoing.read()
                if data:
                    self._socket.sendall(data)
                came = self._socket.recv(65536)
                assert came, "cut off"
                self._incoming.write(came)
            finally:
                if data := self._outgoing.read():
                    self._socket.sendall(data)


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_a_handshake_under_way_when_a_drain_begins_is_finished_and_the_connection_ends_in_order(
    serve: Serve, model: str, spread: float
) -> None:
    server = serve(model=model)
    client = HalfHello(serve.raw(server), serve.authority.believing)
    wait_until(lambda: server.stats().opening == 1)
    with stopping(server, spread=spread):
        wait_until(lambda: server._loop._stopping)  # type: ignore[union-attr]
        client.go_on()
        if spread:
            assert client.ask(b"hello\n") == b"hello\n"
        assert client.end() == "said"
    assert server.stats().not_opened == {}
    assert server.stats().closed == {"stop": 1}
