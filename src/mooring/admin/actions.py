"""The operations that change something: each does one thing of ``Controls``, and all are written to the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import msgspec

from . import bodies, records
from .auth import Role
from .controls import Controls
from .events import LogLevel
from .operations import CONNECTION, DEVICE, SERVER, Operation, Parameter
from .refusal import Refused


class Actions:
    """Does what it is asked for. Belongs to the admin side's thread.

    Args:
        controls: what can be done.
        log_level: changes it.
        workers: where controls run, which may wait for a lock or close a connection to a database.
    """

    def __init__(self, controls: Controls, log_level: LogLevel, workers: Executor) -> None:
        self._controls = controls
        self._log_level = log_level
        self._workers = workers

    def operations(self) -> list[Operation]:
        """What can be done."""
        return [*self._of_servers(), *self._of_connections(), *self._of_the_process()]

    def _of_servers(self) -> list[Operation]:
        controls = self._controls

        def control(
            name: str, path: str, summary: str, call: Callable[..., Any], body: type[msgspec.Struct] = bodies.Nothing
        ) -> Operation:
            return self._control(name, f"/servers/{{server}}{path}", summary, call, body, (SERVER,), (404, 409))

        return [
            control(
                "resize_threads",
                "/threads/resize",
                "New bounds for the thread pool.",
                lambda server, body: controls.resize_threads(server, body.min_size, body.max_size),
                bodies.Sizes,
            ),
            control(
                "pause_threads",
                "/threads/pause",
                "Let no handler start.",
                lambda server, body: controls.pause_threads(server),
            ),
            control(
                "resume_threads",
                "/threads/resume",
                "Let handlers start again.",
                lambda server, body: controls.resume_threads(server),
            ),
            control(
                "resize_database",
                "/database/resize",
                "New bounds for the database's pool.",
                lambda server, body: controls.resize_database(server, body.min_size, body.max_size),
                bodies.Sizes,
            ),
            control(
                "evict_database",
                "/database/evict",
                "Replace all connections to the database.",
                lambda server, body: controls.evict_database(server),
            ),
            control(
                "accepting",
                "/accepting",
                "Suspend or resume accepting, by one listener or by all.",
                lambda server, body: controls.set_accepting(server, body.accepting, body.address),
                bodies.Accepting,
            ),
        ]

    def _of_connections(self) -> list[Operation]:
        controls = self._controls
        return [
            self._control(
                "close_connection",
                "/connections/{id}/close",
                "Close or reset a connection.",
                lambda id, body: controls.close_connection(id, abort=body.abort),
                bodies.Close,
                (CONNECTION,),
                (404,),
            ),
            self._control(
                "send_message",
                "/connections/{id}/send",
                "Send a message to a connection.",
                lambda id, body: controls.send_message(id, message_of(body)),
                bodies.Send,
                (CONNECTION,),
                (404, 409),
            ),
            self._control(
                "send_command",
                "/servers/{server}/devices/{device}/commands",
                "Store a command for a device; it is delivered as soon as the device is here.",
                lambda server, device, body: controls.send_command(server, device, body.data, body.expires),
                bodies.Command,
                (SERVER, DEVICE),
                (404, 409, 503),
            ),
        ]

    def _of_the_process(self) -> list[Operation]:
        controls = self._controls
        return [
            self._control(
                "drain",
                "/drain",
                "Serve what was read, then end the process.",
                lambda body: controls.drain(body),
                bodies.Drain,
            ),
            Operation(
                "log_level",
                "POST",
                "/log-level",
                "Log more, or less, for a while.",
                records.Done,
                self._set_log_level,
                Role.OPERATOR,
                body=bodies.LogLevel,
            ),
        ]

    def _control(
        self,
        name: str,
        path: str,
        summary: str,
        call: Callable[..., str],
        body: type[msgspec.Struct],
        in_path: tuple[Parameter, ...] = (),
        problems: tuple[int, ...] = (),
    ) -> Operation:
        """A control as an operation: off this thread, which must not wait."""

        async def do(**values: Any) -> records.Done:
            loop = asyncio.get_running_loop()
            return records.Done(True, await loop.run_in_executor(self._workers, lambda: call(**values)))

        return Operation(name, "POST", path, summary, records.Done, do, Role.OPERATOR, body, in_path, (), problems)

    async def _set_log_level(self, body: bodies.LogLevel) -> records.Done:
        self._log_level.set(body.level, body.seconds)
        return records.Done(True, f"{body.level} for {body.seconds:g} s")


def message_of(body: bodies.Send) -> bytes:
    """The bytes to send.

    Raises:
        Refused: not exactly one of text and hex.
    """
    if (body.text is None) == (body.hex is None):
        raise Refused(422, "bad_body", "body: give either text or hex")
    try:
        return body.text.encode() if body.text is not None else bytes.fromhex(body.hex or "")
    except ValueError as exc:
        raise Refused(422, "bad_body", f"body: {exc}") from exc
