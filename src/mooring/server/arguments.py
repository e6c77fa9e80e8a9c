"""The arguments of ``Server``: each wrong one is refused with its name, what it is and what it may be."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Sequence

from ..heartbeat import Heartbeat
from ..net.address import Address, parse_bind
from ..net.limits.limits import Limits
from ..net.proxy.protocol import ProxyProtocol
from ..net.tls.context import TLS

MODELS = ("hybrid", "epoll", "threads")
OVERFLOWS = ("close", "drop", "block")


def check_model(model: str, overflow: str, blocking: bool | None) -> None:
    """A model with what fits it."""
    if model not in MODELS:
        raise ValueError(f"Server: model is {model!r}; choose one of {', '.join(MODELS)}")
    if overflow not in OVERFLOWS:
        raise ValueError(f"Server: overflow is {overflow!r}; choose one of {', '.join(OVERFLOWS)}")
    if overflow == "block" and model == "epoll":
        raise ValueError('Server: overflow="block" would stop the only thread of model "epoll"; use "close" or "drop"')
    if model == "epoll" and blocking:
        raise ValueError('Server: blocking=True has no meaning in model "epoll", which has no pool')


def parse_binds(bind: str | Sequence[str]) -> list[Address]:
    """The addresses to listen on."""
    binds = [bind] if isinstance(bind, str) else list(bind) if isinstance(bind, Iterable) else [bind]
    if not binds:
        raise ValueError("Server: bind names no address")
    if not all(isinstance(text, str) for text in binds):
        raise TypeError(f"Server: bind is {bind!r}; it must be an address such as tcp://127.0.0.1:7000, or several")
    addresses = [parse_bind(text) for text in binds]
    for address in addresses:
        kernel_chooses = address.host and not address.port
        if addresses.count(address) > 1 and not kernel_chooses:
            raise ValueError(f"Server: bind names {address} twice")
    return addresses


def check_tls(tls: object, binds: Sequence[Address]) -> None:
    """A certificate is there where TLS is spoken, and only there."""
    if not isinstance(tls, TLS | None):
        raise TypeError(f"Server: tls is {tls!r}; it must be a TLS or None")
    speaking = [address for address in binds if address.tls]
    if speaking and tls is None:
        raise ValueError(f"Server: {speaking[0]} needs a certificate; give tls=TLS(certificate, key)")
    if tls is not None and not speaking:
        plain = ", ".join(map(str, binds))
        raise ValueError(f"Server: tls is given, but nothing would be encrypted on {plain}; listen on tls://HOST:PORT")


def check_positive(*, required: bool = False, **settings: float | None) -> None:
    """More than 0, or None unless it is required."""
    for name, value in settings.items():
        if value is None and not required:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
            raise ValueError(f"Server: {name} is {value!r}; it must be more than 0{'' if required else ', or None'}")


def check_counts(*, required: bool = False, **settings: int | None) -> None:
    """As ``check_positive``, for whole numbers."""
    for name, value in settings.items():
        if isinstance(value, float):
            raise TypeError(f"Server: {name} is {value!r}; it must be a whole number")
    check_positive(required=required, **settings)


def check_framing(framing: object) -> None:
    """What has the methods of a framing."""
    fits = hasattr(framing, "split") and hasattr(framing, "join") and not isinstance(framing, type | str | bytes)
    if not fits:
        raise TypeError(f"Server: framing is {framing!r}; it must be an object with split and join, such as Lines()")


def check_heartbeat(heartbeat: object) -> None:
    """A Heartbeat or None."""
    if not isinstance(heartbeat, Heartbeat | None):
        raise TypeError(f"Server: heartbeat is {heartbeat!r}; it must be a Heartbeat or None")


def check_lifespan(lifespan: object) -> None:
    """A function or None."""
    if lifespan is not None and not callable(lifespan):
        raise TypeError(f"Server: lifespan is {lifespan!r}; it must be a function (server) -> context manager")


def check_limits(limits: object) -> None:
    """Limits, and nothing else."""
    if not isinstance(limits, Limits):
        raise TypeError(f"Server: limits is {limits!r}; it must be Limits(...)")


def check_proxy_protocol(protocol: object, binds: Sequence[Address]) -> None:
    """A ProxyProtocol that trusts somebody, or None."""
    if protocol is None:
        return
    if not isinstance(protocol, ProxyProtocol):
        raise TypeError(f"Server: proxy_protocol is {protocol!r}; it must be ProxyProtocol(...) or None")
    if not protocol.trusted and not all(bind.is_unix for bind in binds):
        raise ValueError(
            "Server: proxy_protocol trusts nobody, so nobody could connect; name the networks of the load balancers "
            "with `trusted` (--proxy-trusted)"
        )


def default_max_connections() -> int:
    """0.8 of the limit of open files: the rest is for the database, logs and listeners."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(1, int(soft * 0.8)) if soft != resource.RLIM_INFINITY else 1_000_000
