"""The device side of the gateway, for tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mooring import Client
from mooring.gateway import Gateway


class Device(Client):
    """A client that says and hears JSON."""

    def say(self, **message: Any) -> None:
        self.send(json.dumps(message).encode())

    def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.recv())
        return message

    def ask(self, **message: Any) -> dict[str, Any]:
        self.say(**message)
        return self.hear()

    def log_in(self, name: str) -> dict[str, Any]:
        welcome = self.ask(op="hello", device=name)
        assert welcome["op"] == "welcome", welcome
        return welcome


MakeGateway = Callable[..., Gateway]
Connect = Callable[[Gateway], Device]
