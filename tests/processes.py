"""Python programs in processes of their own: started, watched, and always reaped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType


class PythonProcess:
    """A Python child, with warnings as errors, whose output is collected line by line (stderr among stdout).

        with PythonProcess("-m", "mooring", "serve") as process:
            process.wait_for_line("listening")
            process.signal(signal.SIGTERM)
            assert process.wait() == 0

    Leaving the block kills what still runs. If the block raises, the error carries the output.
    ``_changed`` guards ``_lines`` and ``_ended``.
    """

    def __init__(
        self,
        *args: str,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._arguments = args
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._ended = False
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            pass_fds=pass_fds,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
        )
        self._reader = threading.Thread(target=self._read, name=f"output of {self.pid}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """All that it has written so far."""
        with self._changed:
            return "".join(self._lines)

    def wait_for_line(self, part: str, timeout: float = 40) -> str:
        """The first line with ``part`` in it, of all output from the beginning."""
        deadline = time.monotonic() + timeout
        seen = 0
        with self._changed:
            while True:
                for line in self._lines[seen:]:
                    if part in line:
                        return line.rstrip("\n")
                seen = len(self._lines)
                if self._ended:
                    raise AssertionError(f"{self} ended without a line with {part!r}")
                if not self._changed.wait(deadline - time.monotonic()):
                    raise AssertionError(f"{self}: no line with {part!r} within {timeout} s")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, and reap it."""
        self._process.kill()
        self._process.wait()

    def wait(self, timeout: float = 40) -> int:
        """Its return code, once it has ended and its output has been read."""
        try:
            returncode = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self} still runs after {timeout} s") from None
        self._reader.join(timeout)
        return returncode

    def __enter__(self) -> PythonProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()
        # A grandchild that holds the pipe must not hold the test.
        self._reader.join(5)
        if not self._reader.is_alive():
            assert self._process.stdout is not None
            self._process.stdout.close()
        if exc is not None:
            exc.add_note(f"--- output of {self}, return code {self.returncode} ---\n{self.output}")

    def __str__(self) -> str:
        return f"python {' '.join(self._arguments)[:120]!r}"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._append(line.decode(errors="replace"))
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _append(self, line: str) -> None:
        with self._changed:
            self._lines.append(line)
            self._changed.notify_all()


def run_python(code: str, *args: str, timeout: float = 40, returncode: int = 0, cwd: Path | None = None) -> str:
    """Run a piece of Python to its end; its output. AssertionError, with the output, on another return code."""
    with PythonProcess("-c", code, *args, cwd=cwd) as process:
        ended = process.wait(timeout)
        assert ended == returncode, f"return code {ended}, expected {returncode}"
        return process.output
