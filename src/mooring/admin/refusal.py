"""``Refused``: an answer that is an error, with a word for programs and a sentence for people."""

from __future__ import annotations


class Refused(Exception):
    """A request that is not answered but by an error.

    Args:
        status: of HTTP.
        error: a word for programs.
        detail: a sentence for people.
        headers: to send with it.
    """

    def __init__(self, status: int, error: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.error = error
        self.detail = detail
        self.headers = headers or {}


def retry_after(seconds: float) -> dict[str, str]:
    """The header that says when to try again."""
    return {"retry-after": str(int(seconds) + 1)}
