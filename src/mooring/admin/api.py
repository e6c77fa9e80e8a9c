"""``/api/v1`` as a whole: what the page shows and does, and what the commands call."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from .actions import Actions
from .audit import Audit
from .auth import Auth
from .controls import Controls
from .door import Door
from .events import LogLevel
from .looks import Looks
from .operations import Operation
from .sessions import Sessions
from .snapshots import Snapshots
from .streams import Streams
from .trace import Tap
from .watched import WatchedServer

CONTROLS: Final = 2
"""Controls that may run at once; each may wait for a lock or close a connection to a database."""


class Api:
    """Answers the operations. Belongs to the admin side's thread.

    Args:
        servers: all that are watched.
        snapshots: the shared ones.
        controls: what can be done.
        audit: where it is written.
        auth, door: know tokens, and who brings too many.
        cookie: the cookie's name.
        log_level: changes it.
        tap: listens to connections; None: there is no trace.
    """

    def __init__(
        self,
        servers: Sequence[WatchedServer],
        snapshots: Snapshots,
        controls: Controls,
        audit: Audit,
        auth: Auth,
        door: Door,
        *,
        cookie: str,
        log_level: LogLevel,
        tap: Tap | None,
    ) -> None:
        self._workers = ThreadPoolExecutor(CONTROLS, thread_name_prefix="mooring-admin-control")
        self._sessions = Sessions(auth, door, audit, cookie=cookie)
        self._looks = Looks(servers, snapshots, controls, audit)
        self._streams = Streams(snapshots, audit, self._workers, tap)
        self._actions = Actions(controls, log_level, self._workers)

    def close(self) -> None:
        """End the streams; controls that still run are left to end by themselves."""
        self._streams.close()
        self._workers.shutdown(wait=False, cancel_futures=True)

    def operations(self) -> list[Operation]:
        """All of them."""
        parts = (self._sessions, self._looks, self._streams, self._actions)
        return [operation for part in parts for operation in part.operations()]
