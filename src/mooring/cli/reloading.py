"""HUP: reading the settings again, checking all of them, and taking over those that a running server can change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from msgspec import UNSET

from ..errors import BindError
from ..net.limits.limits import Limits
from ..net.tls.context import TLS
from ..running import Life
from ..server import Server
from ..settings import Field, Loaded, changes
from .applying import limits_of, tls_of
from .logs import set_level

logger = logging.getLogger("mooring")

Step = tuple[Callable[[], object], Callable[[], object]]
"""How to make a change, and how to take it back."""


class Reloader:
    """Holds the settings that are in force, and replaces them.

    Args:
        loaded: those with which the servers were made.
        read: reads them again, with their problems listed.
        servers: that run.
        life: whose drain follows the settings.
    """

    def __init__(self, loaded: Loaded, read: Callable[[], Loaded], servers: Sequence[Server], life: Life) -> None:
        self.loaded = loaded
        self._read = read
        self._servers = servers
        self._life = life

    def reload(self) -> bool:
        """Read, check, take over. If anything is wrong everything stays as it was.

        Returns:
            Whether the new settings are in force, as far as they can be changed.
        """
        fresh = self._read()
        if fresh.problems:
            for problem in fresh.problems:
                logger.error("reload: %s", problem)
            logger.error("reload: the settings stay as they were")
            return False
        changed = changes(self.loaded, fresh)
        later = [field for field in changed if not field.about.reload or _is_gone(field, fresh)]
        now = [field for field in changed if field not in later]
        try:
            _make(self._steps({field.key for field in now}, fresh))
        except (ValueError, TypeError, RuntimeError, BindError) as exc:
            logger.error("reload: %s; the settings stay as they were", exc)
            return False
        self.loaded = fresh
        self._tell(now, later, fresh)
        return True

    def _tell(self, now: Sequence[Field], later: Sequence[Field], fresh: Loaded) -> None:
        if now:
            taken = ((one.key, fresh.value(one.path)) for one in now)
            what = ", ".join(f"{key} = {'its default' if value is UNSET else value}" for key, value in taken)
            logger.info("reload: taken over: %s", what)
        if later:
            logger.warning("reload: from the next start on: %s", ", ".join(field.key for field in later))
        if not now and not later:
            logger.info("reload: nothing has changed")

    def _steps(self, keys: set[str], fresh: Loaded) -> list[Step]:
        """What can fail comes first."""
        settings, before = fresh.settings, self.loaded.settings
        steps: list[Step] = []
        for server in self._servers:
            if server.configuration.tls is not None:  # also if the settings are the same: the files may be others
                steps.append(_reloading_tls(server, tls_of(settings, server.configuration.tls)))
        for server in self._servers:
            if "threads" in keys:
                steps.append(_resizing(server.threads, *settings.threads))  # type: ignore[misc]
            if keys & {"database.min_size", "database.max_size"} and server.database is not None:
                sizes = server.database.stats()
                smallest, largest = settings.database.min_size, settings.database.max_size
                smallest = sizes.min_size if smallest is UNSET else smallest
                largest = sizes.max_size if largest is UNSET else largest
                steps.append(_resizing(server.database, smallest, largest))
            if any(key.startswith("limits.") for key in keys):
                steps.append(_setting(server, "limits", _limits_of(server, keys, fresh)))
            if "max_connections" in keys:
                steps.append(_setting(server, "max_connections", settings.max_connections))
        if keys & {"drain_timeout", "drain_spread", "drain_grace"}:
            steps.append(_setting(self._life, "drain_timeout", float(settings.drain_timeout)))
            steps.append(_setting(self._life, "drain_spread", spread_of(fresh)))
            steps.append(_setting(self._life, "drain_grace", float(settings.drain_grace or 0.0)))
        if "log.level" in keys:
            steps.append((lambda: set_level(settings.log.level), lambda: set_level(before.log.level)))
        return steps


def spread_of(loaded: Loaded) -> float | None:
    """``Life.drain_spread`` of the settings."""
    spread = loaded.settings.drain_spread
    if spread is None:
        return 0.0
    return None if spread is UNSET else float(spread)


def _is_gone(field: Field, fresh: Loaded) -> bool:
    """A setting that was taken out: what the code says instead is known only when the servers are made.

    Not so limits, of which the server remembers it.
    """
    return fresh.value(field.path) is UNSET and field.key != "drain_spread" and field.path[0] != "limits"


def _limits_of(server: Server, keys: set[str], fresh: Loaded) -> Limits:
    """Its limits with those that have changed; in the place of one that was taken out stands what the code says."""
    changed = {key.removeprefix("limits.") for key in keys if key.startswith("limits.")}
    own = {name: getattr(server.first_configuration.limits, name) for name in changed}
    return limits_of(fresh.settings, replace(server.limits, **own))


def _resizing(pool: Any, smallest: int, largest: int) -> Step:
    before = pool.stats()
    return (
        lambda: pool.resize(smallest, largest),
        lambda: pool.resize(before.min_size, before.max_size),
    )


def _reloading_tls(server: Server, wanted: TLS | None) -> Step:
    before = server.configuration.tls
    return lambda: server.reload_tls(wanted), lambda: server.reload_tls(before)


def _setting(target: Any, name: str, value: Any) -> Step:
    before = getattr(target, name)
    return lambda: setattr(target, name, value), lambda: setattr(target, name, before)


def _make(steps: Sequence[Step]) -> None:
    made: list[Step] = []
    try:
        for step in steps:
            step[0]()
            made.append(step)
    except BaseException:
        for _, take_back in reversed(made):
            take_back()
        raise
