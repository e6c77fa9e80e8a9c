"""Names of devices and uploads: what passes fits into its column and is one line of text."""

from __future__ import annotations

from mooring.gateway.names import check_name, check_upload_name


def check(data: bytes) -> None:
    """See fuzz.targets."""
    name = data.decode("utf-8", "surrogateescape")
    fault = check_name(name)
    assert (check_upload_name(name) is None) == (fault is None)
    if fault is not None:
        assert len(fault) < 100, fault
        return
    assert 1 <= len(name.encode()) <= 256, name
    assert name == name.strip()
    assert name.splitlines() == [name]
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in name)
