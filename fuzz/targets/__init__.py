"""One module for each target: ``check(data)`` returns if all promises hold for this input, and raises if one is broken.

A target that needs a server has ``opened()`` instead, a context manager that yields its ``check``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

Check = Callable[[bytes], None]

CORPUS = Path(__file__).parents[1] / "corpus"
NAMES = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


@contextmanager
def open_target(name: str) -> Iterator[Check]:
    """The ``check`` of a target, for a ``with`` block."""
    module = import_module(f"{__name__}.{name}")
    if hasattr(module, "opened"):
        with module.opened() as check:
            yield check
    else:
        yield module.check


def seeds(name: str) -> list[bytes]:
    """The inputs of a target's corpus, in the order of their names."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
