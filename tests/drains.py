"""Drains that go on beside a test."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from mooring import Server


@contextlib.contextmanager
def stopping(server: Server, **how: Any) -> Iterator[threading.Thread]:
    """A drain that goes on beside the block."""
    thread = threading.Thread(target=server.stop, args=(20,), kwargs=how)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(20)
