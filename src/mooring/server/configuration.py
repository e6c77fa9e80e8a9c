"""What a server was told: its arguments, checked together, in the form in which the rest reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from ..framing import Framing
from ..heartbeat import Heartbeat
from ..net.address import Address
from ..net.deadlines.timeouts import Timeouts
from ..net.limits.limits import Limits
from ..net.proxy.protocol import ProxyProtocol
from ..net.tls.context import TLS
from .arguments import (
    check_counts,
    check_framing,
    check_heartbeat,
    check_limits,
    check_model,
    check_positive,
    check_proxy_protocol,
    check_tls,
    default_max_connections,
    parse_binds,
)

FIXED = ("framing", "blocking")
"""What handlers were written for, and so is not replaced."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """The arguments of a Server by their names, but for those that are objects with a life of their own.

    Immutable: who replaces one makes another Configuration, which is checked as a whole.

    Attributes:
        bind: the addresses, parsed.
        max_connections: None: see ``most_connections``.

    Raises:
        TypeError, ValueError: one is wrong, or two do not fit together; the text says which and what is expected.
    """

    framing: Framing
    bind: Sequence[Address]
    model: str
    blocking: bool | None
    heartbeat: Heartbeat | None
    idle_timeout: float | None
    first_message_timeout: float | None
    write_timeout: float
    close_timeout: float
    backlog: int
    max_connections: int | None
    inbox_limit: int
    outbox_limit: int
    overflow: str
    frame_timeout: float | None
    tls: TLS | None
    limits: Limits
    proxy_protocol: ProxyProtocol | None

    def __post_init__(self) -> None:
        check_model(self.model, self.overflow, self.blocking)
        check_positive(
            idle_timeout=self.idle_timeout,
            first_message_timeout=self.first_message_timeout,
            frame_timeout=self.frame_timeout,
        )
        check_positive(required=True, write_timeout=self.write_timeout, close_timeout=self.close_timeout)
        check_counts(max_connections=self.max_connections)
        check_counts(required=True, backlog=self.backlog, inbox_limit=self.inbox_limit, outbox_limit=self.outbox_limit)
        check_framing(self.framing)
        check_heartbeat(self.heartbeat)
        check_limits(self.limits)
        check_tls(self.tls, self.bind)
        check_proxy_protocol(self.proxy_protocol, self.bind)

    def replaced(self, **arguments: Any) -> Self:
        """The same with other arguments.

        Args:
            arguments: as those of Server; ``framing`` and ``blocking`` stay what they are.

        Raises:
            TypeError, ValueError: as the class, and for an argument that cannot be replaced.
        """
        wrong = set(arguments) - {field.name for field in fields(self)} | set(arguments) & set(FIXED)
        if wrong:
            raise TypeError(f"Server: {', '.join(sorted(wrong))} cannot be replaced")
        if "bind" in arguments:
            arguments["bind"] = parse_binds(arguments["bind"])
        return replace(self, **arguments)

    @property
    def timeouts(self) -> Timeouts:
        """All times after which a connection is closed."""
        return Timeouts(
            first_message=self.first_message_timeout,
            idle=self.idle_timeout,
            heartbeat=self.heartbeat.timeout if self.heartbeat is not None else None,
            frame=self.frame_timeout,
            write=self.write_timeout,
            close=self.close_timeout,
        )

    @property
    def most_connections(self) -> int:
        """``max_connections``, or what the limit of open files allows now."""
        return self.max_connections or default_max_connections()
