"""What a process has used: CPU, memory, threads, context switches. Source: proc(5)."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PROC: Final = Path("/proc")


@dataclass(frozen=True)
class Resources:
    """What a process and its descendants had used at one moment.

    Attributes:
        cpu: seconds, user and system, of all threads, ended ones included.
        threads: there at that moment.
        switches: voluntary and involuntary ones, of the threads that were there.
        memory: bytes resident.
    """

    cpu: float
    threads: int
    switches: int
    memory: int


def resources(pid: int) -> Resources:
    """What a process and all its descendants have used.

    Raises:
        OSError: there is no such process, or it is not ours to see.
    """
    family = [pid, *descendants(pid)]
    return Resources(
        cpu=sum(map(_cpu, family)),
        threads=sum(len(_tasks(one)) for one in family),
        switches=sum(_switches(task) for one in family for task in _tasks(one)),
        memory=sum(map(_memory, family)),
    )


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process and all its descendants."""
    return sum(map(_cpu, [pid, *descendants(pid)]))


def run_time(pid: int) -> float:
    """The CPU time of the threads that a process has now, to the nanosecond; in the kernel's steps of 10 ms where it
    keeps no better account (CONFIG_SCHED_INFO).

    For short looks at servers that do little: ended threads do not count.

    Raises:
        OSError: there is no such process, or it is not ours to see.
    """
    accounts = [account for task in _tasks(pid) if (account := _read(task / "schedstat"))]
    return sum(int(account.split()[0]) for account in accounts) / 1e9 if accounts else _cpu(pid)


def memory(pid: int) -> int:
    """Bytes resident, of a process and all its descendants."""
    return sum(map(_memory, [pid, *descendants(pid)]))


def descriptors(pid: int) -> int:
    """Files and sockets that a process has open.

    Raises:
        OSError: there is no such process, or it is not ours to see.
    """
    return len(os.listdir(_PROC / str(pid) / "fd"))


def open_files(pid: int, path: str) -> int:
    """How many of them are files whose path begins so: a database's, with what lies beside it.

    Raises:
        OSError: there is no such process, or it is not ours to see.
    """
    count = 0
    for link in (_PROC / str(pid) / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed this moment
            count += os.readlink(link).startswith(path)
    return count


def descendants(pid: int) -> list[int]:
    """Children, their children and so on."""
    found: list[int] = []
    for task in _tasks(pid):
        for child in map(int, _read(task / "children").split()):
            found += [child, *descendants(child)]
    return found


def _cpu(pid: int) -> float:
    # The name of the program, in parentheses, may hold anything; the fields begin after the last one. Of children
    # that have ended the time is in the third and fourth.
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICK


def _memory(pid: int) -> int:
    # VmRSS in status may lag behind by some pages for each CPU; the roll-up is counted when it is read.
    text = _read(_PROC / str(pid) / "smaps_rollup") or _read(_PROC / str(pid) / "status")
    return _kilobytes(text, "Rss:") or _kilobytes(text, "VmRSS:")


def _kilobytes(text: str, name: str) -> int:
    for line in text.splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


def _switches(task: Path) -> int:
    lines = _read(task / "status").splitlines()
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


def _tasks(pid: int) -> list[Path]:
    try:
        return list((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return []


def _read(path: Path) -> str:
    """The text of a file of a thread or process that may be gone by now: then it has no more to tell."""
    try:
        return path.read_text()
    except OSError:
        return ""
