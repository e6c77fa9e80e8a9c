"""A client that we did not write completes against the example, under every model."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from mooring import Client, Server
from mooring.framing import Lines

EXAMPLE = Path(__file__).parents[2] / "examples" / "ping.py"


@pytest.fixture(scope="module")
def ping() -> ModuleType:
    """The example, imported as ``mooring serve`` does."""
    spec = importlib.util.spec_from_file_location("ping", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("depth", [1, 16])
@pytest.mark.parametrize("clients", [50, 1000])
@pytest.mark.parametrize("model", ["hybrid", "epoll", "threads"])
def test_redis_benchmark_completes(ping: ModuleType, model: str, clients: int, depth: int) -> None:
    benchmark = shutil.which("redis-benchmark")
    assert benchmark, "redis-benchmark is missing: script/test installs it (Debian: apt-get install redis-tools)"
    requests = 20 * clients if clients < 1000 else 3 * clients * depth
    with Server(ping.ping, framing=Lines(b"\r\n"), bind="tcp://127.0.0.1:0", model=model) as server:
        command = [benchmark, "-p", str(server.port), "-t", "ping_inline"]
        command += ["-c", str(clients), "-P", str(depth), "-n", str(requests), "--csv"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert "PING_INLINE" in done.stdout
        # Every message was answered, among them the lines of the CONFIG command that it begins with.
        assert server.stats().messages >= requests


def test_every_line_is_answered_by_one_ending_as_redis_ends_it(ping: ModuleType) -> None:
    with (
        Server(ping.ping, framing=Lines(b"\r\n"), bind="tcp://127.0.0.1:0") as server,
        Client(server.addresses[0], framing=Lines(b"\r\n")) as client,
    ):
        client.socket.sendall(b"PING\r\nanything\r\n")
        assert [client.recv(), client.recv()] == [b"+PONG", b"+PONG"]
