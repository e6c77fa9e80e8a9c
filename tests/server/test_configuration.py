"""What a server was told: checked as a whole, replaced as a whole."""

from __future__ import annotations

from typing import Any

import pytest

from mooring import Address, Heartbeat, Limits, Server
from mooring.framing import Raw
from mooring.server import Configuration


@pytest.fixture
def configuration() -> Configuration:
    return Server(lambda connection, message: message, bind="tcp://127.0.0.1:0").configuration


def test_an_argument_is_replaced_and_the_others_stay(configuration: Configuration) -> None:
    other = configuration.replaced(bind=["tcp://[::1]:7", "unix:/x"], backlog=9, max_connections=None)
    assert other.bind == [Address("::1", 7), Address(path="/x")]
    assert other.backlog == 9
    assert other.idle_timeout == configuration.idle_timeout == 600.0
    assert configuration.backlog == 1024


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({"model": "fast"}, ValueError, "model is 'fast'"),
        ({"model": "epoll", "overflow": "block"}, ValueError, "would stop the only thread"),
        ({"write_timeout": None}, ValueError, "write_timeout is None; it must be more than 0"),
        ({"idle_timeout": -1}, ValueError, "idle_timeout is -1; it must be more than 0, or None"),
        ({"backlog": 1.5}, TypeError, "backlog is 1.5; it must be a whole number"),
        ({"heartbeat": 30}, TypeError, "heartbeat is 30"),
        ({"limits": None}, TypeError, "limits is None"),
        ({"bind": "tls://127.0.0.1:1"}, ValueError, "needs a certificate"),
        ({"framing": Raw()}, TypeError, "framing cannot be replaced"),
        ({"handler": print, "colour": 1}, TypeError, "colour, handler cannot be replaced"),
    ],
)
def test_what_is_wrong_alone_or_together_is_refused(
    configuration: Configuration, arguments: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        configuration.replaced(**arguments)


def test_the_times_of_a_heartbeat_are_among_the_time_outs(configuration: Configuration) -> None:
    assert configuration.timeouts.heartbeat is None
    other = configuration.replaced(heartbeat=Heartbeat(timeout=7.0), frame_timeout=None)
    assert (other.timeouts.heartbeat, other.timeouts.frame, other.timeouts.write) == (7.0, None, 30.0)


def test_what_is_set_on_a_server_stands_in_its_configuration() -> None:
    server = Server(lambda connection, message: message, bind="tcp://127.0.0.1:0")
    before = server.configuration
    assert before.most_connections == server.max_connections > 0
    server.max_connections = 5
    server.limits = Limits(handshakes=3)
    assert server.configuration == before.replaced(max_connections=5, limits=Limits(handshakes=3))
    with pytest.raises(ValueError, match="max_connections is None"):
        server.max_connections = None  # type: ignore[assignment]
    with pytest.raises(TypeError, match="limits is 3"):
        server.limits = 3  # type: ignore[assignment]
    server.stop()


def test_a_replacement_that_is_refused_changes_neither_the_pool_nor_anything_else() -> None:
    server = Server(lambda connection, message: message, bind="tcp://127.0.0.1:0")
    configuration, pool = server.configuration, server.threads
    with pytest.raises(ValueError, match="backlog"):
        server.reconfigure(model="epoll", threads=7, backlog=0)
    with pytest.raises(ValueError, match="size"):
        server.reconfigure(threads=0, backlog=5)
    assert server.configuration is configuration
    assert server.threads is pool
    server.stop()
