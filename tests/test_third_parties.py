"""Programs that stand between us and our clients in real networks: haproxy in front, stunnel as a client."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from waiting import wait_until

from mooring import TLS, Client, Connection, Server

HAPROXY = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen front
    bind fd@{descriptor}
    server one 127.0.0.1:{port} send-proxy-v2 check-send-proxy check inter 100ms
"""

STUNNEL = """
foreground = yes
client = yes
connect = 127.0.0.1:{port}
CAfile = {authority}
verifyChain = yes
checkHost = localhost
"""


def who(connection: Connection, message: bytes) -> bytes:
    """Answers with the address that the server takes for the client's."""
    return message + b" from " + str(connection.peer).encode()


@pytest.fixture
def announced() -> Any:
    """What a server needs to know of the haproxy in front of it."""
    module = pytest.importorskip("mooring.net.proxy.protocol", reason="the PROXY protocol is not in this tree yet")
    return module.ProxyProtocol(2, trusted="127.0.0.1/32")


def program(name: str, package: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")
    assert found, f"{name} is missing: script/test installs it (Debian: apt-get install {package})"
    return found


@contextlib.contextmanager
def haproxy(server: Server, folder: Path) -> Iterator[int]:
    """haproxy in front of a server; the port on which it listens, which it inherits, so that none can be taken."""
    with socket.create_server(("127.0.0.1", 0)) as front:
        file = folder / "haproxy.cfg"
        file.write_text(HAPROXY.format(descriptor=front.fileno(), port=server.port))
        command = [program("haproxy", "haproxy"), "-db", "-q", "-f", str(file)]
        process = subprocess.Popen(command, pass_fds=[front.fileno()])
        try:
            yield front.getsockname()[1]
        finally:
            process.kill()
            process.wait()


def test_haproxy_tells_the_clients_address_and_its_health_checks_are_no_clients(folder: Path, announced: Any) -> None:
    with Server(who, bind="tcp://127.0.0.1:0", proxy_protocol=announced) as server, haproxy(server, folder) as port:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.7", 0)) as client:
                client.sendall(b"hello\n")
                here = client.getsockname()[1]
                assert client.makefile("rb").readline() == f"hello from tcp://127.0.0.7:{here}\n".encode()
        wait_until(lambda: server.stats().accepted >= 5)  # the checks, too, and none of them is refused
        assert server.stats().refused == 0


def test_haproxy_passes_tls_through_behind_its_header(folder: Path, authority: Authority, announced: Any) -> None:
    pair = authority.server
    options = {"tls": TLS(pair.certificate, pair.key), "proxy_protocol": announced}
    with Server(who, bind="tls://127.0.0.1:0", **options) as server, haproxy(server, folder) as port:
        with Client(f"tls://127.0.0.1:{port}", tls=authority.believing) as client:
            client.send(b"hello")
            here = client.socket.getsockname()[1]
            assert client.recv() == f"hello from tcp://127.0.0.1:{here}".encode()


@pytest.mark.parametrize("model", ["hybrid", "epoll", "threads"])
def test_stunnel_speaks_tls_for_a_client_that_does_not(folder: Path, authority: Authority, model: str) -> None:
    pair = authority.server
    with Server(who, bind="tls://127.0.0.1:0", tls=TLS(pair.certificate, pair.key), model=model) as server:
        file = folder / "stunnel.conf"
        file.write_text(STUNNEL.format(port=server.port, authority=authority.certificate))
        ours, its = socket.socketpair()
        with (
            ours,
            subprocess.Popen([program("stunnel", "stunnel4"), str(file)], stdin=its, stdout=its, stderr=-3) as it,
        ):
            its.close()
            ours.settimeout(15)
            lines = ours.makefile("rwb")
            for _ in range(3):
                lines.write(b"x" * 50_000 + b"\n")  # several records
                lines.flush()
                assert lines.readline().startswith(b"x" * 50_000 + b" from tcp://127.0.0.1:")
            ours.shutdown(socket.SHUT_WR)
            assert lines.read() == b""
            lines.close()
            assert it.wait(15) == 0
        wait_until(lambda: server.stats().closed == {"peer": 1})
