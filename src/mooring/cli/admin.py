"""The admin side of ``mooring serve``: its options, and its beginning and end around a run of servers."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from ..errors import MooringError
from ..server import Server
from ..settings import Loaded
from .exits import NotStarted
from .runtime import Running, UnsafeFolderError, kept_token, leave_word

if TYPE_CHECKING:
    from ..admin.listening import Place

logger = logging.getLogger("mooring.admin")

NEEDED: Final = ("starlette", "uvicorn", "prometheus_client")
MISSING: Final = "not installed; `pip install 'mooring[admin]'` brings it, with metrics and health"


@dataclass(frozen=True)
class AdminOptions:
    """What was asked for.

    Args:
        listen: ``HOST:PORT``, ``off``, or None for the default.
        token, viewer_token: what lets people in, and in to look only.
        hosts: names by which browsers may ask.
    """

    listen: str | None = None
    token: str | None = None
    viewer_token: str | None = None
    hosts: tuple[str, ...] = ()


def admin_options(loaded: Loaded) -> AdminOptions:
    """What the settings ask for."""
    settings = loaded.settings.admin
    return AdminOptions(
        listen=None if settings.listen is UNSET else settings.listen,
        token=None if settings.token is UNSET else settings.token.reveal(),
        viewer_token=None if settings.viewer_token is UNSET else settings.viewer_token.reveal(),
        hosts=settings.hosts,
    )


def faults_of(options: AdminOptions) -> Iterator[tuple[str, str]]:
    """What is wrong with them, before anything is opened: the setting, and the text."""
    if options.listen == "off":
        return
    if not _is_installed():
        if options.listen is not None:
            yield "listen", "needs further packages: pip install 'mooring[admin]'; or use --admin off"
        return
    from ..admin.auth import Auth, new_token
    from ..admin.listening import check_reach

    try:
        check_reach(_place_of(options), options.token)
    except ValueError as exc:
        yield "listen", str(exc)
    try:
        Auth(options.token or new_token(), options.viewer_token)
    except ValueError as exc:
        yield ("viewer_token" if options.token is None else "token"), str(exc)


@contextlib.contextmanager
def admin_side(servers: Sequence[Server], options: AdminOptions, **parts: Any) -> Iterator[list[tuple[str, str]]]:
    """Run the admin side of initialized servers for a ``with`` block.

    Args:
        servers: what it is about.
        options: without faults.
        parts: further arguments of AdminSide: what the parts of the package hand to each other.

    Returns:
        On entering, facts for the banner: (word, value).

    Raises:
        NotStarted: it cannot listen; the text says what to do.
    """
    if options.listen == "off":
        yield []
        return
    if not _is_installed():
        yield [("dashboard", MISSING)]
        return
    side = _make(servers, options, parts)
    word: Path | None = None
    try:
        side.start()
        word = _leave_word(side)
        yield [("dashboard", side.url_with_token)]
    finally:
        side.stop()
        if word is not None:
            word.unlink(missing_ok=True)


def _is_installed() -> bool:
    try:
        return all(importlib.util.find_spec(name) is not None for name in NEEDED)
    except ValueError:  # there is something by this name that is no package
        return False


def _make(servers: Sequence[Server], options: AdminOptions, parts: dict[str, Any]) -> Any:
    from ..admin.service import AdminSide

    token = _kept_token() if options.token is None else options.token
    try:
        return AdminSide(
            servers, _place_of(options), token=token, viewer_token=options.viewer_token, hosts=options.hosts, **parts
        )
    except MooringError as exc:
        raise NotStarted(str(exc)) from exc


def _place_of(options: AdminOptions) -> Place:
    from ..admin.listening import Place, parse_place

    place = parse_place(options.listen) if options.listen is not None else Place()
    assert place is not None, "it is not off"
    return place


def _kept_token() -> str | None:
    """The user's own token; None, for one that is made up, where it cannot be kept."""
    from ..admin.auth import new_token

    try:
        return kept_token(new_token())
    except (OSError, UnsafeFolderError) as exc:
        logger.warning("the dashboard's token cannot be kept and is another one after a restart: %s", exc)
        return None


def _leave_word(side: Any) -> Path | None:
    try:
        return leave_word(Running(os.getpid(), side.url, side.token))
    except (OSError, UnsafeFolderError) as exc:
        logger.warning("`mooring connections` and the like need --url and a token here: %s", exc)
        return None
