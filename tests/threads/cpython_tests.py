"""CPython's own tests of ``ThreadPoolExecutor``, run against ours.

``python cpython_tests.py`` says whether they are there, or what to install (exit code 1); with ``PART PARTS`` it runs
one part of so many. Many builds of Python leave the tests out; those of another version serve as well.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import sys
import sysconfig
import time
import types
import unittest
from pathlib import Path
from typing import Any

PACE = 0.4
"""Seconds that a second lasts, where they sleep, or wait, for one or more: each test compares two of its times, and
what lies between them stays far more than what a thread has to wait on a busy machine."""

PRELUDE = """\
import concurrent.futures, concurrent.futures.thread, os
from mooring.threads import ThreadPool

class ThreadPoolExecutor(ThreadPool):
    def __init__(self, max_workers=None, thread_name_prefix="", initializer=None, initargs=()):
        if max_workers is None:
            max_workers = min(32, (os.cpu_count() or 1) + 4)
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        # The names of threads are no difference worth a test: CPython's prefix is the name of its class.
        prefix = thread_name_prefix or f"ThreadPoolExecutor-{id(self)}"
        super().__init__(max_workers, thread_name_prefix=prefix, initializer=initializer, initargs=initargs)
        self._max_workers = max_workers

    @property
    def _threads(self):
        return {worker.thread for worker in self._core.workers}

    @property
    def _broken(self):
        return self._core.state.value == "broken"

concurrent.futures.ThreadPoolExecutor = concurrent.futures.thread.ThreadPoolExecutor = ThreadPoolExecutor
"""
"""Puts ours in the place of CPython's, here and in the interpreters that the tests start."""

CLASSES = (
    "ThreadPoolExecutorTest",
    "ThreadPoolShutdownTest",
    "ThreadPoolWaitTest",
    "ThreadPoolWaitTests",
    "ThreadPoolAsCompletedTest",
    "ThreadPoolAsCompletedTests",
    "ThreadPoolInitializerTest",
    "ThreadPoolFailingInitializerTest",
)
"""Their names, of all versions."""

CANNOT_APPLY = {
    "ThreadPoolExecutorTest.test_idle_thread_reuse": "the first task starts all threads of a fixed pool",
    "ThreadPoolShutdownTest.test_threads_terminate": "it counts threads: the first task starts all of a fixed pool",
    "ThreadPoolShutdownTest.test_submit_after_interpreter_shutdown": (
        "atexit hooks and threads that outlive the main thread may use a pool of ours to the last"
    ),
}
"""What is left out, and why."""


def folder() -> Path | None:
    """A folder ``test`` that has the tests: this interpreter's, or else another one's of the system."""
    own = Path(sysconfig.get_path("stdlib")) / "test"
    others = sorted(Path("/usr/lib").glob("python3.*/test"), key=lambda path: int(path.parent.name.split(".")[1]))
    for path in (own, *reversed(others)):
        if (path / "test_concurrent_futures.py").exists() or (path / "test_concurrent_futures").is_dir():
            return path
    return None


def load() -> dict[str, type[unittest.TestCase]]:
    """The test classes for threads, by name."""
    path = folder()
    if path is None:
        raise SystemExit("CPython's executor tests are not installed (Debian: apt-get install libpython3-testsuite)")
    _make_importable(path)
    exec(PRELUDE, {})
    executor: Any = concurrent.futures.ThreadPoolExecutor
    executor.map = _hurried(executor.map)
    if (path / "test_concurrent_futures.py").exists():
        names = ["test_concurrent_futures"]
    else:
        names = [
            f"test_concurrent_futures.test_{name}"
            for name in ("thread_pool", "shutdown", "wait", "as_completed", "init")
        ]
    found: dict[str, type[unittest.TestCase]] = {}
    for name in names:
        module = importlib.import_module(f"test.{name}")
        _tell_children(module, path)
        _set_pace(module)
        found.update({name: _with_our_log(value) for name, value in vars(module).items() if name in CLASSES})
    return found


def _with_our_log(case: type[unittest.TestCase]) -> type[unittest.TestCase]:
    """What CPython writes into ``concurrent.futures``, ours writes into ``mooring.threads``."""

    def assert_logs(self: Any, logger: Any = None, level: Any = None) -> Any:
        return case.assertLogs(self, "mooring.threads" if logger == "concurrent.futures" else logger, level)

    return type(case.__name__, (case,), {"assertLogs": assert_logs})


def _make_importable(path: Path) -> None:
    """As ``test.…``: beside the interpreter's own ``test.support``, where there is one."""
    try:
        package: Any = importlib.import_module("test")
    except ImportError:
        package = sys.modules["test"] = types.ModuleType("test")
        package.__path__ = []
    if str(path) not in package.__path__:
        package.__path__.append(str(path))


def _tell_children(module: Any, path: Path) -> None:
    run = getattr(module, "assert_python_ok", None)
    if run is not None:
        begin = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        begin += f"import cpython_tests, pathlib; cpython_tests._make_importable(pathlib.Path({str(path)!r}))\n"
        module.assert_python_ok = lambda option, code, *more: run(option, f"{begin}{PRELUDE}\n{code}", *more)


def _set_pace(module: Any) -> None:
    """Let the module's long sleeps and time-outs be over sooner."""
    if hasattr(module, "time"):
        module.time = types.SimpleNamespace(**{**vars(time), "sleep": lambda seconds: time.sleep(_at_pace(seconds))})
    if hasattr(module, "futures"):
        names = {name: getattr(module.futures, name) for name in dir(module.futures)}
        module.futures = types.SimpleNamespace(**{**names, "wait": _hurried(module.futures.wait)})


def _hurried(function: Any) -> Any:
    def call(*args: Any, timeout: float | None = None, **options: Any) -> Any:
        return function(*args, timeout=None if timeout is None else _at_pace(timeout), **options)

    return call


def _at_pace(seconds: float) -> float:
    return seconds * PACE if seconds >= 1 else seconds


def run(part: int, parts: int) -> bool:
    """Run each ``parts``th test; whether all is well. What is left out is said, and has to be there."""
    cases = load()
    for name, reason in CANNOT_APPLY.items():
        case, method = name.split(".")
        print(f"left out: {name}: {reason}" if hasattr(cases[case], method) else f"there is no {name}")
    tests = [
        case(method)
        for name, case in cases.items()
        for method in unittest.TestLoader().getTestCaseNames(case)
        if f"{name}.{method}" not in CANNOT_APPLY
    ]
    result = unittest.TextTestRunner(sys.stdout, verbosity=2).run(unittest.TestSuite(tests[part::parts]))
    return result.wasSuccessful() and not result.skipped


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(not run(*map(int, sys.argv[1:])))
    print(*load())
