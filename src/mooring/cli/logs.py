"""Logging of the commands: text for people, JSON for machines, priorities for systemd's journal; always to stderr.

The library itself logs to ``logging`` like any other; only the command decides where lines go and how they look.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, TextIO

from ..net.connection.connection import Connection
from ..net.tapping.trace_event import TraceEvent
from ..server import Server
from .log_writer import BackgroundHandler
from .repeats import RepeatFilter

payload = logging.getLogger("mooring.payload")

LEVELS: Final = ("debug", "info", "warning", "error")
MOST_REPEATS: Final = 10

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_COLOURS: Final = {logging.DEBUG: "2", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "1;31"}
_PRIORITIES: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def set_up_logging(level: str, log_format: str = "auto", repeats: int = MOST_REPEATS) -> None:
    """Send all records to stderr, the target's own ones, too.

    Args:
        level: the least that is shown, one of LEVELS.
        log_format: "text", "json", or "auto": text, with colours on a terminal and as the journal likes it.
        repeats: how often the same line is shown within a minute.
    """
    handler = BackgroundHandler(sys.stderr)
    handler.setFormatter(_formatter(log_format, sys.stderr))
    handler.addFilter(_add_connection)
    handler.addFilter(RepeatFilter(repeats))
    root = logging.getLogger()
    root.addHandler(handler)
    set_level(level)
    logging.captureWarnings(True)


def log_payload(servers: Sequence[Server]) -> None:
    """Log what is received and sent from now on, at level info."""

    def put(event: TraceEvent) -> None:
        if event.direction in ("in", "out"):
            fields = {"connection": event.connection, "peer": event.peer, "size": event.size, "hex": event.hex}
            fields |= {"connection_name": event.name} if event.name is not None else {}
            prefix = f"[{event.connection} {event.peer}] "
            text = event.data.decode("latin-1").encode("unicode_escape").decode()
            payload.info("%s%s %s", prefix, event.direction, text, extra={**fields, "prefix": prefix})

    for server in servers:
        server.listen(put)


def set_level(level: str) -> None:
    """The least that is shown from now on, one of LEVELS."""
    logging.getLogger().setLevel(level.upper())


def _formatter(log_format: str, stream: TextIO) -> logging.Formatter:
    if log_format == "json":
        return _json_formatter()
    if log_format == "auto" and is_journal(stream):
        return JournalFormatter()
    return TextFormatter(colours=log_format == "auto" and wants_colours(stream))


def wants_colours(stream: TextIO) -> bool:
    """Whether a person reads this: a terminal, unless NO_COLOR or FORCE_COLOR (no-color.org) say otherwise."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")


def is_journal(stream: TextIO) -> bool:
    """Whether systemd's journal reads this: JOURNAL_STREAM of systemd.exec(5) names the socket."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


class TextFormatter(logging.Formatter):
    """Time in UTC, level, text. Further lines of a record are indented, and control characters are shown as escapes:
    what a device calls itself can neither forge a line nor steer the terminal."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        text = _harmless(super().format(record))
        colour = _COLOURS.get(record.levelno) if self._colours else None
        return f"\x1b[{colour}m{text}\x1b[0m" if colour else text


class JournalFormatter(logging.Formatter):
    """A line begins with its priority, sd-daemon(3); the journal has the time by itself."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        priority = next((_PRIORITIES[level] for level in sorted(_PRIORITIES) if record.levelno <= level), 2)
        return f"<{priority}>" + _harmless(super().format(record)).replace("\n", f"\n<{priority}>")


def _harmless(text: str) -> str:
    text = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    return text.replace("\n", "\n    ")


def _json_formatter() -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter  # takes its time to load, and most do not need it

    class MooringJsonFormatter(JsonFormatter):
        """An object a line: ``ts`` (RFC 3339, UTC), ``level``, ``event``, ``logger``; of a connection ``connection``,
        ``peer`` and ``name``; ``err`` is the traceback; whatever a record brings as ``extra``."""

        def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
            log_data["level"] = str(log_data["level"]).lower()
            prefix = log_data.pop("prefix", None)
            if prefix:
                log_data["event"] = log_data["event"].removeprefix(prefix)
            return log_data

        def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            return f"{moment}.{int(record.msecs):03d}Z"

    names = {"asctime": "ts", "levelname": "level", "message": "event", "name": "logger"}
    names |= {"exc_info": "err", "connection_name": "name", "stack_info": "stack"}
    return MooringJsonFormatter(("asctime", "levelname", "message", "name"), rename_fields=names)


def _add_connection(record: logging.LogRecord) -> bool:
    """Lines that are about a connection say so in fields of their own: it is among their arguments."""
    for argument in record.args if isinstance(record.args, tuple) else ():
        if isinstance(argument, Connection):
            for key, value in argument.log.fields().items():
                setattr(record, key, value)
            break
    return True
