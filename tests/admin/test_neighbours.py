"""Other processes of the same user, as the page shows them."""

from __future__ import annotations

import os
import subprocess
import sys

from mooring.admin.neighbours import LOOK_EVERY, Neighbours

NOBODY = 2**22 - 1
"""The greatest number of a process on 64-bit Linux, which is hardly taken."""


def test_others_are_shown_by_what_they_use_and_looked_at_now_and_then() -> None:
    now, asked = [100.0], []
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:

        def find() -> list[tuple[int, str]]:
            asked.append(1)
            return [(other.pid, "http://127.0.0.1:7002"), (os.getpid(), "http://127.0.0.1:7001"), (NOBODY, "http://x")]

        neighbours = Neighbours(find, clock=lambda: now[0])
        (one,) = neighbours.look()
        assert (one.pid, one.url, one.cpu_share, one.threads) == (other.pid, "http://127.0.0.1:7002", None, 1)
        assert one.memory > 0
        assert one.descriptors >= 3
        now[0] += LOOK_EVERY / 2
        assert neighbours.look() == [one]
        assert len(asked) == 1
        now[0] += LOOK_EVERY
        (again,) = neighbours.look()
        assert again.cpu_share is not None
        other.communicate(b"\n")
    now[0] += LOOK_EVERY
    assert neighbours.look() == []
