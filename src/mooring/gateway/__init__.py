"""The gateway: holds devices that speak JSON lines and stores what they push. ``mooring serve`` runs it."""

from .server import Gateway, server

__all__ = ["Gateway", "server"]
