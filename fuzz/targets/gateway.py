"""A whole gateway, over sockets: devices that log in, push, upload, break off and come again, against a model."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from fuzz.choices import Choices
from fuzz.conversation import Conversation
from fuzz.targets import Check
from mooring.gateway import server


class Errors(logging.Handler):
    """What the server logged as an error: no input of a device is one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


@contextmanager
def opened() -> Iterator[Check]:
    """See fuzz.targets."""
    count = 0
    errors = Errors()
    logger = logging.getLogger("mooring")
    gateway = server(database="sqlite:///:memory:", bind="tcp://127.0.0.1:0", auth="none")

    def check(data: bytes) -> None:
        nonlocal count
        count += 1
        Conversation(gateway, f"d{count}").run(Choices(data))
        assert not errors.texts, errors.texts

    with gateway:
        logger.addHandler(errors)
        try:
            yield check
        finally:
            logger.removeHandler(errors)
