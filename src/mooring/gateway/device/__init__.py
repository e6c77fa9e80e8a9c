"""The device side of the gateway: a connection that is kept, a queue on disk, commands that run once."""

from .client import Device, Refused

__all__ = ["Device", "Refused"]
