"""CPython's own tests of ``ThreadPoolExecutor``, run against ours.

``python cpython_tests.py`` names their classes, or what to install (exit code 1). ``python cpython_tests.py CLASS``
runs one of them. Many builds of Python leave the tests out; those of another version serve as well.
"""

from __future__ import annotations

import importlib
import sys
import sysconfig
import types
import unittest
from pathlib import Path
from typing import Any

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


def run(name: str, part: int = 0, parts: int = 1) -> bool:
    """Run one class, or each ``parts``th of its tests; whether all is well."""
    case = load()[name]
    methods = unittest.TestLoader().getTestCaseNames(case)[part::parts]
    suite = unittest.TestSuite(case(method) for method in methods if f"{name}.{method}" not in CANNOT_APPLY)
    result = unittest.TextTestRunner(sys.stdout, verbosity=2).run(suite)
    return result.wasSuccessful() and not result.skipped


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(not run(sys.argv[1], *map(int, sys.argv[2:])))
    print(*load())
