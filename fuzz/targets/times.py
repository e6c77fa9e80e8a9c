"""Times: whatever number a message may carry becomes text that sorts, and comes back to the millisecond."""

from __future__ import annotations

import math
import struct

from mooring.gateway.messages import END_OF_TIME
from mooring.gateway.times import to_seconds, to_text


def check(data: bytes) -> None:
    """See fuzz.targets."""
    count = min(len(data) // 8, 50)
    moments = sorted(
        moment
        for moment in struct.unpack_from(f">{count}d", data)
        if math.isfinite(moment) and 0 <= moment <= END_OF_TIME
    )
    texts = [to_text(moment) for moment in moments]
    assert texts == sorted(texts)
    for moment, text in zip(moments, texts, strict=True):
        assert len(text) == 23, text
        assert abs(to_seconds(text) - moment) <= 0.000_501 + moment * 2**-52, (moment, text)
