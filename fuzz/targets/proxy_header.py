"""PROXY headers, versions 1 and 2: a header, more to come, or the one documented error."""

from __future__ import annotations

from mooring.net.proxy.header import LARGEST_V1, LARGEST_V2, ProxyHeader, ProxyHeaderError, parse_header

LARGEST = {1: LARGEST_V1, 2: LARGEST_V2}


def check(data: bytes) -> None:
    """See fuzz.targets."""
    data = data[:2000]
    for version, largest in LARGEST.items():
        whole = _outcome(version, data)
        assert whole is not None or len(data) < largest, "it asks for more than the largest header"
        if isinstance(whole, ProxyHeader):
            assert 0 < whole.size <= min(len(data), largest)
            assert _outcome(version, data[: whole.size]) == whole, "what follows is not of the header"
        for size in range(len(data)):
            part = _outcome(version, data[:size])
            assert part is None or part == whole, (size, part, whole)
            if part is not None:
                break


def _outcome(version: int, data: bytes) -> ProxyHeader | str | None:
    try:
        return parse_header(version, data)
    except ProxyHeaderError as exc:
        assert len(str(exc)) < 300, exc
        return "refused"
