"""The pool that a server runs its handlers in: one of its own, one that it was given, or what stands for none."""

from __future__ import annotations

from ..threads import ThreadPool


def make_pool(threads: int | tuple[int, int] | ThreadPool, *, model: str, name: str) -> ThreadPool:
    """The pool for the argument ``threads`` of Server; one that is there already is taken as it is.

    Args:
        threads, model: see Server.
        name: the server's, for the names of the threads.
    """
    if isinstance(threads, ThreadPool):
        return threads
    kind = ThreadPool if model == "hybrid" else NoThreadPool
    return kind(*sizes_of(threads), thread_name_prefix=f"{name or 'mooring'}-worker")


def sizes_of(threads: int | tuple[int, int]) -> tuple[int, int]:
    """The smallest and the largest size; one number is both."""
    return threads if isinstance(threads, tuple) else (threads, threads)


class NoThreadPool(ThreadPool):
    """Stands where the hybrid model has its pool, and says that there is none."""

    def resize(self, min_size: int, max_size: int | None = None) -> None:
        """Refused."""
        raise RuntimeError(
            "this model does not run handlers in the pool, so its size does not apply; use model='hybrid'"
        )

    def pause(self) -> None:
        """Refused."""
        raise RuntimeError(
            "this model does not run handlers in the pool, so pausing it does nothing; use model='hybrid'"
        )
