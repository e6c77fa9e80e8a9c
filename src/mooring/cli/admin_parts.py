"""What the admin side needs of other parts of the package, which it must not know: commands for devices, and traces."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from ..gateway.errors import ErrorCode
from ..gateway.server import Gateway
from ..server import Server

LARGEST_COMMAND: Final = 60_000
"""Bytes: it goes in one line of at most 65,536, with an id and a time beside it."""

DEEPEST: Final = 64


def parts_of(servers: Sequence[Server]) -> dict[str, Any]:
    """The arguments of AdminSide that come from elsewhere, as far as these servers have them."""
    parts: dict[str, Any] = {"protocol_errors": protocol_errors}
    if any(has_commands(server) for server in servers):
        parts |= {"send_command": send_command, "has_commands": has_commands}
    if all(hasattr(server, "listen") for server in servers):
        parts["tap"] = _Tap(servers)
    return parts


def protocol_errors(server: Server) -> dict[str, int]:
    """What a gateway has answered with an error, by its code; nothing of other servers."""
    if not isinstance(server, Gateway):
        return {}
    counted = server.counters.snapshot()
    return {code.code: counted.get(code.code, 0) for code in ErrorCode}


def has_commands(server: Server) -> bool:
    """Whether it is a gateway that keeps commands for devices."""
    return hasattr(getattr(server, "store", None), "commands")


def send_command(server: Any, device: str, data: Any, expires: float) -> str:
    """Store a command, as ``mooring send`` does; see admin.controls.SendCommand."""
    text = msgspec.json.encode(data).decode()
    if len(text.encode()) > LARGEST_COMMAND:
        raise ValueError(f"a command has at most {LARGEST_COMMAND} bytes, this one {len(text.encode())}")
    if _is_deeper(data, DEEPEST):
        raise ValueError(f"a command is nested at most {DEEPEST} deep")
    number = server.store.devices.find(device)
    if number is None:
        raise KeyError(device)
    now = time.time()
    command = server.store.commands.add(number, text, now, now + expires)
    return f"command {command} is stored for {device}, for {expires:g} s"


def _is_deeper(data: Any, depth: int) -> bool:
    inside = data.values() if isinstance(data, dict) else data if isinstance(data, list) else None
    if inside is None:
        return False
    return depth == 0 or any(_is_deeper(one, depth - 1) for one in inside)


class _Tap:
    """Listens to a connection of any of the servers; see admin.trace.Tap."""

    def __init__(self, servers: Sequence[Any]) -> None:
        self._servers = servers

    def __call__(
        self, *, connection: int | None, device: str | None, peer: str | None, put: Callable[[dict[str, Any]], None]
    ) -> Callable[[], None]:
        """Begin to listen; returns what ends it."""
        stops: list[Callable[[], None]] = []

        def stop() -> None:
            for one in stops:
                one()

        for server in self._servers:
            try:
                stops.append(
                    server.listen(lambda event: put(event.as_dict()), connection=connection, name=device, peer=peer)
                )
            except KeyError:
                continue  # it is another server's
            except BaseException:
                stop()
                raise
        if not stops:
            raise KeyError(connection)
        return stop
