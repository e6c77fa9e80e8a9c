"""The promise of the whole program: what was acknowledged is there, once, and as it was sent, whatever is killed.

200 simulated devices push, through a proxy that cuts connections in the middle of a message, while the
server is killed, the database is killed and stopped, and both are killed together. Beside them a device uploads in
blocks, and others are commanded. Each fault lasts until enough has happened in it, not for a time.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from devices import Connect, Device, MakeGateway
from mariadb import MariaDB, free_port
from processes import PythonProcess
from tcp_proxy import FaultProxy
from waiting import wait_until

from mooring import ConnectionClosed
from mooring.db import open_pool
from mooring.gateway import server as make_gateway_server
from mooring.gateway.store import Store, Unavailable

DEVICES: Final = 200
COMMANDS: Final = 20
BLOCK: Final = 8192
BLOCKS_A_TIME: Final = 2


class Cutter(FaultProxy):
    """Cuts some connections at any byte.

    Attributes:
        share: of the pieces that are passed, how many end their connection in their middle.
        is_patient: a connection waits until the server is there, instead of being closed.
        cuts, refused, pushes: connections cut; those closed because nobody listens; pushes that came by.
    """

    share = 0.0
    is_patient = False
    cuts = refused = pushes = 0

    def _connect(self) -> None:
        while self.is_patient and not is_listened_to(self.target):
            time.sleep(0.01)
        before = len(self._pairs)
        super()._connect()
        self.refused += len(self._pairs) == before

    def _pass(self, sock: socket.socket) -> None:
        is_cut = random.random() < self.share
        data = b""
        with contextlib.suppress(OSError):
            data = sock.recv(65536)
            self._pairs[sock].sendall(data[: random.randrange(len(data) + 1)] if is_cut else data)
        self.pushes += data.count(b'"op":"push"')
        self.cuts += is_cut
        if is_cut or not data:
            self._close(sock)


def is_listened_to(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Uploader(threading.Thread):
    """A device that uploads, and goes on where it was whenever its connection ends; block by block as it may."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.data = os.urandom(200_000)
        self.sha256 = hashlib.sha256(self.data).hexdigest()
        self.is_stored = False
        self.attempts = 0
        self.deadline = time.monotonic() + 60
        self._port = port
        self._allowed = threading.Semaphore(0)

    def allow(self, blocks: int) -> None:
        """Let it send so many more, so that its upload lasts as long as the faults do."""
        self._allowed.release(blocks)

    def run(self) -> None:
        while not self.is_stored and time.monotonic() < self.deadline:
            self.attempts += 1
            with contextlib.suppress(OSError, ConnectionClosed, TimeoutError):
                with Device(f"tcp://127.0.0.1:{self._port}", timeout=5.0) as device:
                    self._upload(device)
            time.sleep(0.05)  # nobody comes back faster

    def _upload(self, device: Device) -> None:
        head = {"op": "upload", "name": "raw", "sha256": self.sha256, "total": len(self.data)}
        if device.ask(op="hello", device="uploader")["op"] != "welcome":
            return
        answer = device.ask(**head)
        while answer["op"] == "received" and self._allowed.acquire(timeout=self.deadline - time.monotonic()):
            offset = answer["offset"]
            block = base64.b64encode(self.data[offset : offset + BLOCK]).decode()
            answer = device.ask(**head, offset=offset, data=block)
        self.is_stored = answer["op"] == "stored"


class Pace:
    """How long a time with a fault or without one lasts: until enough has happened in it.

    Args:
        proxy: between the devices and the server.
        uploader: sends some blocks in each of these times.
        url: of the database.
    """

    def __init__(self, proxy: Cutter, uploader: Uploader, url: str) -> None:
        self._proxy = proxy
        self._uploader = uploader
        self._url = url

    def until_stored(self) -> None:
        """All is well: two more pushes of each device are stored, and some connections are cut meanwhile."""
        proxy = self._proxy
        proxy.is_patient = False
        cuts = proxy.cuts
        self._uploader.allow(BLOCKS_A_TIME)
        with open_pool(self._url) as pool, pool.connection() as lease:

            def stored() -> int:
                return int(lease.execute("SELECT COUNT(*) FROM pushes").fetchone()[0])

            enough = stored() + 2 * DEVICES
            wait_until(lambda: stored() >= enough, timeout=60)
        wait_until(lambda: proxy.cuts > cuts, timeout=60)

    def until_sent(self) -> None:
        """Nobody answers: a push of each device is sent all the same."""
        self._uploader.allow(BLOCKS_A_TIME)
        enough = self._proxy.pushes + DEVICES
        wait_until(lambda: self._proxy.pushes >= enough, timeout=60)

    def until_refused(self) -> None:
        """Nobody is there: half of the devices have noticed. Then they wait for the server, to be back with it."""
        self._uploader.allow(BLOCKS_A_TIME)
        enough = self._proxy.refused + DEVICES // 2
        wait_until(lambda: self._proxy.refused >= enough, timeout=60)
        self._proxy.is_patient = True


def serve(port: int, url: str) -> PythonProcess:
    return PythonProcess("-m", "mooring", "serve", "--bind", f"tcp://127.0.0.1:{port}", "--database", url)


def command_some(url: str) -> list[int]:
    """Enter commands for simulated devices that have logged in."""
    with open_pool(url) as pool:
        store = Store(pool)
        numbers = []
        for index in range(1, COMMANDS + 1):
            device = wait_until(lambda index=index: store.devices.find(f"sim-{index}"))  # type: ignore[misc]
            numbers.append(store.commands.add(device, f'{{"n":{index}}}', time.time(), None))
        return numbers


def answers_of(url: str, numbers: list[int]) -> list[str | None]:
    with open_pool(url) as pool:
        rows = [Store(pool).commands.find(number) for number in numbers]
    return [row.result if row is not None else None for row in rows]


def strike(pace: Pace, server: PythonProcess, again: Callable[[], PythonProcess], database: MariaDB | None) -> None:
    """One fault after the other; ``again`` starts the server, and the one that runs last is left running."""
    pace.until_stored()
    server.kill()
    pace.until_refused()
    server = again()
    pace.until_stored()
    if database is None:
        server.signal(signal.SIGSTOP)
        pace.until_sent()
        server.signal(signal.SIGCONT)
    else:
        database.kill()
        pace.until_sent()
        database.start()
        pace.until_stored()
        database.signal(signal.SIGSTOP)
        pace.until_sent()
        database.signal(signal.SIGCONT)
    pace.until_stored()
    server.kill()
    if database is not None:
        database.kill()
    pace.until_refused()
    if database is not None:
        database.start()
    again()
    pace.until_stored()


@pytest.mark.timeout(150)
@pytest.mark.parametrize("kind", ["sqlite", "mariadb", "mysql9"])
def test_nothing_acknowledged_is_lost_whatever_is_killed(
    kind: str, folder: Path, request: pytest.FixtureRequest
) -> None:
    database: MariaDB | None = None if kind == "sqlite" else request.getfixturevalue(f"own_{kind}")
    url = f"sqlite:///{folder}/x.db" if database is None else database.url()
    port = free_port()
    with contextlib.ExitStack() as servers, Cutter(port) as proxy:

        def start() -> PythonProcess:
            server = servers.enter_context(serve(port, url))
            server.wait_for_line("listening")
            return server

        proxy.is_patient = True  # all begin at the same time
        uploader = Uploader(proxy.port)
        uploader.start()
        options = ("--devices", str(DEVICES), "--rate", "4", "--verify", url)
        with PythonProcess(
            "-m", "mooring", "simulate", "--server", f"tcp://127.0.0.1:{proxy.port}", *options
        ) as simulation:
            first = start()
            numbers = command_some(url)
            proxy.share = 0.01
            strike(Pace(proxy, uploader, url), first, start, database)
            proxy.share = 0.0
            uploader.allow(len(uploader.data) // BLOCK + 1)
            uploader.join(60)
            wait_until(lambda: None not in answers_of(url, numbers), timeout=60)
            simulation.signal(signal.SIGINT)
            assert simulation.wait(60) == 0, simulation.output
        assert uploader.is_stored
        summary = next(line for line in simulation.output.splitlines() if " pushed, " in line)
        verified = next(line for line in simulation.output.splitlines() if line.startswith("verified: "))
        print(
            f"{kind}: {summary}; {verified}; {proxy.cuts} connections cut; {uploader.attempts} logins of the uploader"
        )
        counts = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", verified)}
        assert counts["missing"] == counts["altered"] == counts["doubled"] == 0
        assert counts["acknowledged"] > 8 * DEVICES
        assert " 0 refused, 0 unanswered" in summary
        assert f" {COMMANDS} commands" in summary  # each was run, and none twice
        assert answers_of(url, numbers) == [f'{{"n":{index}}}' for index in range(1, COMMANDS + 1)]
        with open_pool(url) as pool:
            assert b"".join(Store(pool).uploads.content("uploader", "raw")) == uploader.data


def test_a_device_whose_counter_began_again_gets_a_conflict_for_every_push_that_differs(
    make_gateway: MakeGateway, connect: Connect, database_url: str
) -> None:
    gateway = make_gateway(database_url)
    device = connect(gateway)
    device.log_in("a")
    for seq in range(1, 21):
        device.say(op="push", seq=seq, at=seq, data=seq)
    assert [device.hear()["op"] for _ in range(20)] == ["ack"] * 20
    rebooted = connect(gateway)
    rebooted.log_in("a")
    for seq in range(1, 21):  # every other one is the same as before
        rebooted.say(op="push", seq=seq, at=seq, data=seq if seq % 2 else -seq)
    answers = [rebooted.hear() for _ in range(20)]
    assert [answer.get("code", answer["op"]) for answer in answers] == ["ack", "conflict"] * 10
    assert [row.data for row in gateway.store.pushes.of_device("a", 1, 99)] == [str(seq) for seq in range(1, 21)]


def test_a_clock_that_jumps_loses_nothing_and_doubles_nothing(
    make_gateway: MakeGateway, connect: Connect, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = make_gateway(database_url)
    device = connect(gateway)
    device.log_in("a")
    clock = time.time
    for seq, jump in enumerate((0, 86_400, -86_400 * 365, 3600), 1):
        monkeypatch.setattr(time, "time", lambda jump=jump: clock() + jump)
        assert device.ask(op="push", seq=seq, data=seq) == {"op": "ack", "seq": seq}
        for earlier in range(1, seq + 1):
            assert device.ask(op="push", seq=earlier, data=earlier) == {"op": "ack", "seq": earlier}
    monkeypatch.undo()
    assert [row.data for row in gateway.store.pushes.of_device("a", 1, 99)] == ["1", "2", "3", "4"]


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of one megabyte; to make one takes root, as in a container."""
    path = folder / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_loses_nothing_that_was_acknowledged(
    small_disk: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mooring.gateway.writers.QUEUE_TIMEOUT", 0.3)
    url = f"sqlite:///{small_disk}/x.db"
    acknowledged = []
    with make_gateway_server(database=url, bind="tcp://127.0.0.1:0") as gateway:
        device = connect(gateway)
        device.log_in("a")
        refused = 0
        for seq in range(1, 200):
            answer = device.ask(op="push", seq=seq, data="x" * 20_000)
            if answer["op"] == "ack":
                acknowledged.append(seq)
            else:
                assert (answer["code"], answer["retry"]) == ("unavailable", True)
                refused += 1
            if refused == 3:
                break
        assert refused == 3
        assert len(acknowledged) > 5
        print(f"full disk: {len(acknowledged)} acknowledged before it, {refused} refused")
        device.close()
        with contextlib.suppress(Unavailable):
            assert [row.seq for row in gateway.store.pushes.of_device("a", 1, 999)] == acknowledged
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    with make_gateway_server(database=url, bind="tcp://127.0.0.1:0") as gateway:
        found = {row.seq: row.data for row in gateway.store.pushes.of_device("a", 1, 999)}
        assert set(acknowledged) <= set(found)
        assert set(found.values()) == {'"' + "x" * 20_000 + '"'}
        device = connect(gateway)
        device.log_in("a")
        assert device.ask(op="push", seq=acknowledged[-1] + 1, data="x" * 20_000)["op"] == "ack"
