"""Listening: dual stack, several addresses, Unix sockets and their files, and errors that help."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from processes import run_python

from mooring import BindError, Client, Server
from mooring.net.accepting.listener import Listener, open_listeners
from mooring.net.address import parse_address

Open = Callable[..., Sequence[Listener]]


@pytest.fixture
def listen() -> Iterator[Open]:
    """Listens, and closes at the end of the test."""
    opened: list[Listener] = []

    def listen(*texts: str) -> Sequence[Listener]:
        listeners = open_listeners([parse_address(text) for text in texts], backlog=8)
        opened.extend(listeners)
        return listeners

    yield listen
    for listener in opened:
        listener.close()


def connects(host: str, port: int) -> bool:
    """Whether somebody listens there; closes at once."""
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def free_port() -> int:
    """A port that was free a moment ago, on IPv4 and IPv6."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as probe:
        return int(probe.getsockname()[1])


# TCP ------------------------------------------------------------------------------------------------------------------


def test_port_0_is_reported_as_the_real_port(listen: Open) -> None:
    (listener,) = listen("tcp://127.0.0.1:0")
    assert listener.address.port == listener.socket.getsockname()[1] != 0
    assert connects("127.0.0.1", listener.address.port)


def test_the_ipv6_wildcard_takes_both(listen: Open) -> None:
    (listener,) = listen("tcp://[::]:0")
    assert connects("127.0.0.1", listener.address.port)
    assert connects("::1", listener.address.port)


def test_the_ipv4_wildcard_takes_ipv4_only(listen: Open) -> None:
    (listener,) = listen("tcp://0.0.0.0:0")
    assert connects("127.0.0.1", listener.address.port)
    assert not connects("::1", listener.address.port)


def test_an_ipv6_address_takes_ipv6_only(listen: Open) -> None:
    (listener,) = listen("tcp://[::1]:0")
    assert connects("::1", listener.address.port)
    assert not connects("127.0.0.1", listener.address.port)


@pytest.mark.parametrize("order", [("[::]", "0.0.0.0"), ("0.0.0.0", "[::]")])
def test_both_wildcards_work_together_on_one_port(listen: Open, order: tuple[str, str]) -> None:
    port = free_port()
    listeners = listen(*[f"tcp://{host}:{port}" for host in order])
    families = {listener.socket.family: listener for listener in listeners}
    assert len(listeners) == 2
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        assert connects(host, port)
        families[family].socket.accept()[0].close()  # each came to the socket of its own kind


def test_several_addresses_are_listened_on(listen: Open, folder: Path) -> None:
    listeners = listen("tcp://127.0.0.1:0", "tcp://127.0.0.2:0", "tcp://[::1]:0", f"unix:{folder}/x")
    assert [listener.address.host for listener in listeners] == ["127.0.0.1", "127.0.0.2", "::1", ""]


def test_a_port_in_use_is_named_with_the_cause_and_what_to_do(listen: Open) -> None:
    (listener,) = listen("tcp://127.0.0.1:0")
    with pytest.raises(BindError) as caught:
        listen(str(listener.address))
    advice = "choose another port with --bind, or ask `ss -ltnp` who has this one"
    assert str(caught.value) == f"listen on {listener.address}: address already in use; {advice}"


def test_an_address_of_another_machine_is_named(listen: Open) -> None:
    with pytest.raises(BindError, match=r"listen on tcp://192\.0\.2\.1:7000: .*no interface of this machine"):
        listen("tcp://192.0.2.1:7000")


def test_an_unknown_host_is_named(listen: Open) -> None:
    with pytest.raises(BindError, match=r"listen on tcp://no\.such\.invalid:7000: .*is the host name right"):
        listen("tcp://no.such.invalid:7000")


def test_if_one_address_fails_none_stays_open(listen: Open, folder: Path) -> None:
    (taken,) = listen("tcp://127.0.0.1:0")
    port = free_port()
    with pytest.raises(BindError):
        listen(f"tcp://127.0.0.1:{port}", f"unix:{folder}/x", str(taken.address))
    assert not connects("127.0.0.1", port)
    assert not (folder / "x").exists()


def test_listeners_are_not_inherited_by_programs_that_are_started(listen: Open) -> None:
    (listener,) = listen("tcp://127.0.0.1:0")
    assert not os.get_inheritable(listener.socket.fileno())
    assert not listener.socket.getblocking()


# IPv6 off -------------------------------------------------------------------------------------------------------------


def without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that was booted with ipv6.disable=1: no such sockets."""

    class Socket(socket.socket):
        def __init__(self, family: int = -1, *args: Any, **options: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            super().__init__(family, *args, **options)

    monkeypatch.setattr(socket, "socket", Socket)


def test_where_ipv6_is_off_the_wildcard_takes_ipv4_with_a_warning(
    listen: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_ipv6(monkeypatch)
    (listener,) = listen("tcp://[::]:0")
    assert listener.address.host == "0.0.0.0"
    assert connects("127.0.0.1", listener.address.port)
    assert caplog.messages == ["IPv6 is off on this machine: tcp://[::]:0 takes IPv4 only"]
    assert caplog.records[0].levelno == logging.WARNING


def test_where_ipv6_is_off_both_wildcards_become_one(
    listen: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    without_ipv6(monkeypatch)
    (listener,) = listen(f"tcp://[::]:{port}", f"tcp://0.0.0.0:{port}")
    assert str(listener.address) == f"tcp://0.0.0.0:{port}"
    assert caplog.messages == [f"IPv6 is off on this machine: tcp://[::]:{port} is left out"]


def test_where_ipv6_is_off_an_ipv6_address_is_an_error(listen: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    without_ipv6(monkeypatch)
    with pytest.raises(BindError, match=r"listen on tcp://\[::1\]:7000: address family not supported"):
        listen("tcp://[::1]:7000")


def test_in_a_network_whose_interfaces_have_no_ipv6_the_wildcard_serves_ipv4() -> None:
    program = """
import ctypes, fcntl, socket, struct
CLONE_NEWNET, SIOCSIFFLAGS, IFF_UP = 0x40000000, 0x8914, 1
try:
    if ctypes.CDLL(None).unshare(CLONE_NEWNET) != 0:
        raise OSError("unshare")
    with socket.socket() as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w") as switch:
        switch.write("1")
except OSError:
    raise SystemExit(print("not allowed"))
from mooring import Client, Server
with Server(lambda connection, message: message, bind="tcp://[::]:0") as server:
    with Client(f"tcp://127.0.0.1:{server.port}") as client:
        client.send(b"served")
        print(client.recv().decode())
"""
    output = run_python(program)
    if output == "not allowed\n":
        pytest.skip("only root may make a network of its own; the fake kernel above stands for it")
    assert output == "served\n"


# Peers ----------------------------------------------------------------------------------------------------------------


def test_a_peer_on_ipv4_looks_the_same_on_a_dual_stack_listener() -> None:
    seen: list[str] = []

    def handler(connection: Any, message: bytes) -> bytes:
        seen.append(connection.peer.host)
        seen.append(connection.local.host)
        return message

    with Server(handler, bind="tcp://[::]:0") as server, Client(f"tcp://127.0.0.1:{server.port}") as client:
        client.send(b"x")
        client.recv()
    assert seen == ["127.0.0.1", "127.0.0.1"]


# Unix -----------------------------------------------------------------------------------------------------------------


def test_a_unix_socket_has_mode_0660_whatever_the_umask(listen: Open, folder: Path) -> None:
    before = os.umask(0o077)
    try:
        listen(f"unix:{folder}/x")
    finally:
        os.umask(before)
    status = (folder / "x").stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o660


def test_the_socket_file_goes_with_its_listener(listen: Open, folder: Path) -> None:
    (listener,) = listen(f"unix:{folder}/x")
    listener.close()
    assert not (folder / "x").exists()


def test_a_stale_socket_file_is_replaced(listen: Open, folder: Path) -> None:
    path = folder / "x"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.exists()  # as a server leaves it that was killed
    listen(f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_the_socket_of_a_living_server_is_left_alone(listen: Open, folder: Path) -> None:
    listen(f"unix:{folder}/x")
    with pytest.raises(BindError, match="another server listens there; choose another path with --bind"):
        listen(f"unix:{folder}/x")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{folder}/x")


def test_a_living_server_whose_backlog_is_full_is_left_alone(listen: Open, folder: Path) -> None:
    path = str(folder / "x")
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(path)
        busy.listen(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as first:
            first.connect(path)
            with pytest.raises(BindError, match="another server listens there"):
                listen(f"unix:{path}")
    assert os.path.exists(path)


def test_a_file_that_is_no_socket_is_left_alone(listen: Open, folder: Path) -> None:
    path = folder / "x"
    path.write_text("precious")
    with pytest.raises(BindError, match="a file that is not a socket has this name"):
        listen(f"unix:{path}")
    assert path.read_text() == "precious"


def test_a_folder_that_does_not_exist_is_named(listen: Open, folder: Path) -> None:
    with pytest.raises(BindError, match=r"no such file or directory; the folder does not exist"):
        listen(f"unix:{folder}/missing/x")


def test_the_socket_file_of_somebody_else_is_not_unlinked(listen: Open, folder: Path) -> None:
    (ours,) = listen(f"unix:{folder}/x")
    (folder / "x").unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"{folder}/x")
        other.listen()
        ours.close()
        assert (folder / "x").exists()


def test_the_file_is_unlinked_while_the_socket_still_listens(
    listen: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Unlinked after it, it might be the file of a server that found ours stale in between.
    (listener,) = listen(f"unix:{folder}/x")
    open_at_unlink: list[bool] = []
    unlink = os.unlink

    def watched(path: Any) -> None:
        open_at_unlink.append(listener.socket.fileno() >= 0)
        unlink(path)

    monkeypatch.setattr(os, "unlink", watched)
    listener.close()
    assert open_at_unlink == [True]


def test_closing_a_listener_twice_is_harmless(listen: Open, folder: Path) -> None:
    (listener,) = listen(f"unix:{folder}/x")
    listener.close()
    listener.close()
