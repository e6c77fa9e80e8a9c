"""What the admin side needs of other parts of the package, which it must not know: commands for devices, and traces."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..gateway.checks import find_fault
from ..gateway.errors import ErrorCode
from ..gateway.handler import DeviceHandler
from ..gateway.messages import END_OF_TIME
from ..gateway.server import Gateway
from ..net.connection.connection import Connection
from ..server import Server
from ..tracing import listen_to
from .runtime import UnsafeFolderError, find_running
from .send import LARGEST_COMMAND

if TYPE_CHECKING:
    from ..admin.trace import Tap  # needs the extra


def parts_of(servers: Sequence[Server]) -> dict[str, Any]:
    """The arguments of AdminSide that come from elsewhere."""
    return {
        "tap": tap_of(servers),
        "protocol_errors": protocol_errors,
        "errors_of": errors_of,
        "send_command": send_command,
        "has_commands": has_commands,
        "neighbours": neighbours,
    }


def protocol_errors(server: Server) -> dict[str, int]:
    """What a gateway has answered with an error, by its code; nothing of other servers."""
    if not isinstance(server, Gateway):
        return {}
    counted = server.counters.snapshot()
    return {code.code: counted.get(code.code, 0) for code in ErrorCode}


def errors_of(connection: Connection) -> int:
    """How many messages of a device a gateway has answered with an error; 0 of other servers, which end with one."""
    handler = connection._handler
    return handler.refusals if isinstance(handler, DeviceHandler) else 0


def has_commands(server: Server) -> bool:
    """Whether it is a gateway, which keeps commands for devices."""
    return isinstance(server, Gateway)


def send_command(server: Server, device: str, data: Any, expires: float) -> str:
    """Store a command, as ``mooring send`` does; see admin.controls.SendCommand."""
    assert isinstance(server, Gateway)
    text = msgspec.json.encode(data)
    fault = find_fault(text)
    if fault is None and len(text) > LARGEST_COMMAND:
        fault = f"a command has at most {LARGEST_COMMAND} bytes, this one {len(text)}"
    if fault is not None:
        raise ValueError(fault)
    number = server.store.devices.find(device)
    if number is None:
        raise KeyError(device)
    now = time.time()
    command = server.store.commands.add(number, text.decode(), now, min(now + expires, END_OF_TIME))
    return f"command {command} is stored for {device}, for {expires:g} s"


def neighbours() -> list[tuple[int, str]]:
    """The servers of this user, by the word that each has left; see admin.neighbours.Find."""
    try:
        return [(one.pid, one.url) for one in find_running()]
    except (OSError, UnsafeFolderError):
        return []  # then nobody is found by the commands either


def tap_of(servers: Sequence[Server]) -> Tap:
    """Listens to a connection of whichever server has it; see admin.trace.Tap."""

    def tap(
        *, connection: int | None, device: str | None, peer: str | None, put: Callable[[dict[str, Any]], None]
    ) -> Callable[[], None]:
        whom = {"connection": connection, "name": device, "peer": peer}
        given = {word: value for word, value in whom.items() if value is not None}
        return listen_to(servers, lambda event: put(event.as_dict()), **given)

    return tap
