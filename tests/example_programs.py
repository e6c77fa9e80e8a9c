"""The programs in ``examples/``, imported as ``mooring serve`` does it, and the real clients that talk to them."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).parents[1] / "examples"


@contextlib.contextmanager
def example(name: str) -> Iterator[ModuleType]:
    """The module; its server listens on a port that the kernel chooses."""
    spec = importlib.util.spec_from_file_location(f"{name}_example", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        module.server.reconfigure(bind="tcp://127.0.0.1:0")
        yield module
    finally:
        del sys.modules[spec.name]


def run_client(program: str, *arguments: str, stdin: str = "", code: int = 0) -> str:
    """Run a program to its end; what it said."""
    found = shutil.which(program) or shutil.which(program, path=str(Path(sys.executable).parent))
    assert found, f"{program} is missing: script/test installs it"
    done = subprocess.run([found, *arguments], input=stdin, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout
