"""Loading what ``mooring serve`` is told to serve: ``module[:attribute]``."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from types import ModuleType, TracebackType
from typing import Any

import click

from ..server import Server
from .exits import NoTarget

DEFAULT_ATTRIBUTE = "server"


def load_target(target: str, *, app_dir: str | None, factory: bool) -> Server:
    """Import a module and take a Server out of it.

    Args:
        target: ``module`` or ``module:attribute``; both may be dotted. The attribute is ``server`` if left out.
        app_dir: the folder to look in first; the working directory if None.
        factory: the attribute is called without arguments, and returns the Server.

    Raises:
        NoTarget: the module cannot be imported, or there is no Server. An error in the user's own code is shown as a
            traceback that begins there.
    """
    found = load_object(target, DEFAULT_ATTRIBUTE, app_dir=app_dir)
    where = target if ":" in target else f"{target}:{DEFAULT_ATTRIBUTE}"
    if factory:
        found = _call(found, where)
    if not isinstance(found, Server):
        raise NoTarget(_no_server(found, where, factory))
    return found


def load_object(target: str, default: str, *, app_dir: str | None) -> Any:
    """Import a module and take an object out of it.

    Args:
        target: ``module`` or ``module:attribute``.
        default: the attribute if it is left out.
        app_dir: see ``load_target``.

    Raises:
        NoTarget: as ``load_target``.
    """
    name, colon, attribute = target.partition(":")
    if not name or (colon and not attribute):
        raise NoTarget(f"{target}: write MODULE or MODULE:ATTRIBUTE, for example app:{default}")
    _search_first(os.getcwd() if app_dir is None else app_dir)
    return _find(_import(name), name, attribute or default)


def _search_first(folder: str) -> None:
    folder = os.path.abspath(folder)
    if not os.path.isdir(folder):
        raise NoTarget(f"--app-dir {folder}: there is no such folder")
    if not sys.path or sys.path[0] != folder:
        sys.path.insert(0, folder)


def _import(name: str) -> ModuleType:
    if name.endswith(".py") or "/" in name:
        module = os.path.basename(name).removesuffix(".py")
        folder = os.path.dirname(name)
        app_dir = f"--app-dir {folder} " if folder else ""
        raise NoTarget(f"{name} is a file; name the module: mooring serve {app_dir}{module}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        # Only if the target itself is missing; else it is there and misses something.
        if exc.name is not None and (name == exc.name or name.startswith(exc.name + ".")):
            raise NoTarget(f"no module {exc.name!r} in {sys.path[0]}; name its folder with --app-dir") from None
        raise _with_traceback(exc, f"importing {name} failed") from None
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001 - whatever the user's module raises, sys.exit() included
        raise _with_traceback(exc, f"importing {name} failed") from None


def _find(module: ModuleType, name: str, attribute: str) -> Any:
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise NoTarget(f"{name} has no attribute {attribute!r}; {_servers_of(module, name)}") from None
    return found


def _servers_of(module: ModuleType, name: str) -> str:
    servers = [key for key, value in vars(module).items() if isinstance(value, Server)]
    if not servers:
        return "there is no Server in it"
    return "Servers in it: " + ", ".join(f"{name}:{server}" for server in servers)


def _call(factory: Any, target: str) -> Any:
    if not callable(factory):
        raise NoTarget(f"{target} is {_kind(factory)}, which cannot be called; leave --factory out")
    try:
        inspect.signature(factory).bind()
    except TypeError as exc:
        raise NoTarget(f"{target} is called without arguments: {exc}") from None
    except ValueError:
        pass  # some callables written in C do not tell
    try:
        return factory()
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001 - as above
        raise _with_traceback(exc, f"calling {target} failed") from None


def _no_server(found: Any, target: str, factory: bool) -> str:
    if factory:
        return f"{target} returned {_kind(found)}, not a mooring.Server"
    if inspect.isfunction(found):
        return f"{target} is a function, not a mooring.Server; if it makes one, add --factory"
    return f"{target} is {_kind(found)}, not a mooring.Server"


def _kind(value: Any) -> str:
    return f"the class {value.__name__}" if inspect.isclass(value) else f"an object of type {type(value).__name__}"


def _with_traceback(exc: BaseException, what: str) -> NoTarget:
    """Show the traceback from the first line that is the user's."""
    exc.__traceback__ = _users_part(exc.__traceback__)
    click.echo("".join(traceback.format_exception(exc)).rstrip(), err=True)
    return NoTarget(what)


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    ours = (__file__, importlib.__file__)
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name not in ours and not name.startswith("<frozen importlib"):
            return trace
        trace = trace.tb_next
    return None
