"""The gateway: holds devices, stores what they push, brings them commands. ``mooring serve`` runs it."""

from typing import TYPE_CHECKING, Any

from .codec import Codec, Session
from .server import Gateway, server

if TYPE_CHECKING:
    from .device import Device, Refused

__all__ = ["Codec", "Device", "Gateway", "Refused", "Session", "server"]


def __getattr__(name: str) -> Any:
    """The device side, which needs asyncio, is loaded when it is asked for: servers do without."""
    if name not in ("Device", "Refused"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import device

    return getattr(device, name)
