"""The admin side of ``mooring serve``: its options, and its beginning and end around a run of servers."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from ..errors import MooringError
from ..server import Server
from .exits import NotStarted
from .runtime import Running, UnsafeFolderError, kept_token, leave_word

logger = logging.getLogger("mooring.admin")

Function = TypeVar("Function", bound=Callable[..., Any])

NEEDED: Final = ("starlette", "uvicorn", "prometheus_client")
MISSING: Final = "not installed; `pip install 'mooring[admin]'` brings it, with metrics and health"


@dataclass(frozen=True)
class AdminOptions:
    """What was asked for.

    Args:
        listen: ``HOST:PORT``, ``off``, or None for the default.
        token_file, viewer_token_file: files with tokens in them.
        hosts: names by which browsers may ask.
    """

    listen: str | None = None
    token_file: str | None = None
    viewer_token_file: str | None = None
    hosts: tuple[str, ...] = ()


def admin_options(function: Function) -> Function:
    """Decorator for a command: ``--admin`` and what belongs to it; the command gets ``admin``, an AdminOptions."""

    def with_admin(*args: Any, **options: Any) -> Any:
        admin = AdminOptions(
            options.pop("admin"),
            options.pop("admin_token_file"),
            options.pop("admin_viewer_token_file"),
            options.pop("admin_hosts"),
        )
        return function(*args, admin=admin, **options)

    with_admin.__doc__ = function.__doc__
    with_admin.__name__ = function.__name__
    with_admin.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    for option in (
        click.option(
            "--admin-host",
            "admin_hosts",
            metavar="NAME",
            multiple=True,
            envvar="MOORING_ADMIN_HOST",
            help="A name by which browsers may ask for the dashboard; may be given several times.",
        ),
        click.option(
            "--admin-viewer-token-file",
            metavar="FILE",
            envvar="MOORING_ADMIN_VIEWER_TOKEN_FILE",
            help="Holds a token of those who may look and change nothing.",
        ),
        click.option(
            "--admin-token-file",
            metavar="FILE",
            envvar="MOORING_ADMIN_TOKEN_FILE",
            help="Holds the token of the dashboard.  [default: one of this user's, made when it is missing]",
        ),
        click.option(
            "--admin",
            metavar="HOST:PORT",
            envvar="MOORING_ADMIN",
            help="Where the dashboard, metrics and health are; `off`: nowhere.  [default: 127.0.0.1:7001, or the next "
            "free port]",
        ),
    ):
        with_admin = option(with_admin)
    return with_admin  # type: ignore[return-value]


@contextlib.contextmanager
def admin_side(servers: Sequence[Server], options: AdminOptions, **parts: Any) -> Iterator[list[tuple[str, str]]]:
    """Run the admin side of initialized servers for a ``with`` block.

    Args:
        parts: further arguments of AdminSide: what the parts of the package hand to each other.

    Returns:
        On entering, facts for the banner: (word, value).

    Raises:
        NotStarted: it cannot listen, or must not; the text says what to do.
    """
    if options.listen == "off":
        yield []
        return
    if not _is_installed():
        if options.listen is not None:
            raise NotStarted("--admin needs further packages: pip install 'mooring[admin]'; or use --admin off")
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
    from ..admin.listening import Place, parse_place
    from ..admin.service import AdminSide

    try:
        place = parse_place(options.listen) if options.listen is not None else Place()
        assert place is not None
        token = _read_token(options.token_file) or os.environ.get("MOORING_ADMIN_TOKEN")
        if token is None and place.is_loopback:
            token = _kept_token()
        viewer_token = _read_token(options.viewer_token_file)
        return AdminSide(servers, place, token=token, viewer_token=viewer_token, hosts=options.hosts, **parts)
    except (MooringError, ValueError) as exc:
        raise NotStarted(str(exc)) from exc


def _read_token(name: str | None) -> str | None:
    if name is None:
        return None
    try:
        token = Path(name).read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ValueError(f"the token's file {name}: {getattr(exc, 'strerror', None) or exc}") from exc
    if not token:
        raise ValueError(f"the token's file {name} is empty; `openssl rand -hex 32 > {name}` makes one")
    return token


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
