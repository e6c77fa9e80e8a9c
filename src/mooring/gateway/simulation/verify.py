"""Holding the database against what was acknowledged."""

from __future__ import annotations

from collections.abc import Iterable

from ...db import open_pool
from ..store import Store
from .record import Comparison, Record


def verify(url: str, records: Iterable[Record]) -> Comparison:
    """Read all rows of these devices and compare each with what was sent.

    Args:
        url: of the database that the gateway stores in.
        records: of the devices.

    Raises:
        MooringError: the database cannot be read.
    """
    comparison = Comparison()
    with open_pool(url, min_size=1, max_size=1) as pool:
        pool.create_connections()
        store = Store(pool)
        for record in records:
            if record.has_begun:
                rows = store.pushes.of_device(record.name, record.first, record.following - 1)
                comparison.add(record, ((row.seq, row.at, row.data) for row in rows))
    return comparison
