"""Processes of a measurement: started on a core of their own, bounded in time, and always ended."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import IO, Final, Self

START_TIMEOUT: Final = 20.0
STOP_TIMEOUT: Final = 10.0
_HOST: Final = "127.0.0.1"


class ProcessFailed(Exception):
    """A process of the measurement did not do what it was started for; the text has what it wrote."""


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Processes that are started inside run on this core only; None: wherever the kernel likes.

    See sched_setaffinity(2): a child inherits it.
    """
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Process:
    """A program in a process group of its own, which is ended when the block is left.

    Args:
        command: what to run.
        core: the one it may use; None: all.
        piped: whether we talk to it over its standard input and output.
    """

    def __init__(self, command: Sequence[str], core: int | None = None, *, piped: bool = False) -> None:
        self._name = " ".join(command)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - stop() closes it
        pipe = subprocess.PIPE if piped else subprocess.DEVNULL
        try:
            with on_core(core):
                self._process = subprocess.Popen(  # noqa: S603 - the commands are our own
                    [*_ends_with_us(), *command],
                    stdin=pipe,
                    stdout=pipe if piped else self._errors,
                    stderr=self._errors,
                    bufsize=0,
                    start_new_session=True,
                )
        except BaseException:
            self._errors.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended. Does not reap it: its number, and so its group, stay its own."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None

    def read_line(self, timeout: float) -> str:
        """The next line of its output.

        Raises:
            ProcessFailed: it ended, or wrote none within ``timeout`` seconds.
        """
        output = self._pipe(self._process.stdout)
        # The pipe is not buffered on our side, so that what select() says is all there is to say.
        if not select.select([output], [], [], timeout)[0]:
            raise self.failed(f"wrote nothing for {timeout:g} s")
        line = output.readline().decode()
        if not line.endswith("\n"):
            raise self.failed("ended")
        return line.rstrip("\n")

    def read_all(self, timeout: float) -> str:
        """Its whole output, when it has ended by itself.

        Raises:
            ProcessFailed: it did not end within ``timeout`` seconds, or not well.
        """
        try:
            output: bytes = self._process.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            raise self.failed(f"still runs after {timeout:g} s") from None
        if self._process.returncode:
            raise self.failed(f"ended with {self._process.returncode}")
        return output.decode()

    def write_line(self, line: str = "") -> None:
        """Tell it something.

        Raises:
            OSError: it has ended, or closed its input.
        """
        self._pipe(self._process.stdin).write(line.encode() + b"\n")

    def close_input(self) -> None:
        """Tell it that it may end."""
        self._pipe(self._process.stdin).close()

    def failed(self, what: str) -> ProcessFailed:
        """An error that says what happened to it, with the end of what it wrote."""
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(self._errors.tell() - 2000, 0))
        written = self._errors.read().decode(errors="replace").strip()
        return ProcessFailed(f"{self._name}: {what}" + (f"; it wrote:\n{written}" if written else ""))

    def stop(self) -> None:
        """Ask it to end, and after STOP_TIMEOUT end it; with all that it started."""
        if self._process.returncode is None:
            if self.running:
                self._process.terminate()
            deadline = time.monotonic() + STOP_TIMEOUT
            while self.running and time.monotonic() < deadline:
                time.sleep(0.01)
            os.killpg(self.pid, signal.SIGKILL)  # not reaped yet: the group is certainly ours
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _pipe(self, stream: IO[bytes] | None) -> IO[bytes]:
        if stream is None:
            raise RuntimeError("this process was started without pipes")
        return stream


class ServerProcess(Process):
    """A server that listens on ``port``; made, it accepts connections.

    Raises:
        ProcessFailed: it does not listen within START_TIMEOUT.
    """

    def __init__(self, command: Sequence[str], port: int, core: int | None = None) -> None:
        super().__init__(command, core)
        self.port = port
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.stop()
            raise

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                socket.create_connection((_HOST, self.port), 1.0).close()
                return
            except OSError:
                pass
            if not self.running:
                raise self.failed("ended before it listened")
            if time.monotonic() > deadline:
                raise self.failed(f"does not listen on port {self.port} after {START_TIMEOUT:g} s")
            time.sleep(0.02)


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as listener:
        listener.bind((_HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def _ends_with_us() -> list[str]:
    """What to put before a command so that the kernel ends it when we are killed; see prctl(2), PR_SET_PDEATHSIG."""
    return ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
