"""Log lines that begin with what they are about: a connection's number, peer and name."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .connection import Connection


class ConnectionLog(logging.LoggerAdapter[logging.Logger]):
    """Puts the connection's number, peer and name before every line, and into fields of the record."""

    def log(self, level: int, msg: Any, *args: Any, **kwargs: Any) -> None:
        """See ``logging.Logger.log``."""
        if not self.isEnabledFor(level):
            return
        fields = self.fields()
        name = f" {fields['connection_name']!r}" if "connection_name" in fields else ""
        prefix = f"[{fields['connection']} {fields['peer']}{name}] "
        kwargs["extra"] = {**fields, "prefix": prefix, **(kwargs.get("extra") or {})}
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # the caller's line, not this one
        # A % in what the peer calls itself is none of the message's.
        self.logger.log(level, f"{prefix.replace('%', '%%') if args else prefix}{msg}", *args, **kwargs)

    def fields(self) -> dict[str, Any]:
        """What identifies the connection, as fields of a record: ``connection``, ``peer``, ``connection_name``."""
        connection: Connection = self.extra["connection"]  # type: ignore[index,assignment]
        name = {"connection_name": connection.name} if connection.name is not None else {}
        return {"connection": connection.id, "peer": str(connection.peer), **name}
