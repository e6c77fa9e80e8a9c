"""Addresses in settings, and the Host and Origin that strangers send to the admin side."""

from __future__ import annotations

from mooring.admin.guard import host_name
from mooring.admin.listening import parse_place
from mooring.net.address import parse_bind


def check(data: bytes) -> None:
    """See fuzz.targets."""
    text = data[:2000].decode("utf-8", "surrogateescape")
    try:
        address = parse_bind(text)
    except ValueError:
        pass
    else:
        assert parse_bind(str(address)) == address, text
    try:
        place = parse_place(text)
        assert place is None or 0 <= place.port <= 65535
    except ValueError:
        pass
    name = host_name(data[:2000].decode("latin-1"))
    assert name is None or (name == name.lower() and not set(name) & set("/?#@")), name
