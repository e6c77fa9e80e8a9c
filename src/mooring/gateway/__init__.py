"""The gateway: holds devices, stores what they push, brings them commands. ``mooring serve`` runs it."""

from .codec import Codec, Session
from .server import Gateway, server

__all__ = ["Codec", "Gateway", "Session", "server"]
