"""Mooring: a TCP server for fleets of long-lived clients, with plain blocking handlers.

from mooring import Server

def echo(connection, message):
    return message

Server(echo).run()
"""

__version__ = "0.1.0"

from .client import Client
from .errors import (
    BindError,
    CommitUnknown,
    ConnectionClosed,
    FrameError,
    MooringError,
    PoolBusy,
    PoolClosed,
    PoolError,
    PoolTimeout,
    PoolUnavailable,
    QueueFull,
)
from .handler import ConnectionHandler, Reply, Router
from .heartbeat import Heartbeat
from .net.address import Address
from .net.connection.connection import Connection
from .net.connection.connections import Connections
from .net.connection.life import CloseReason
from .net.limits.limits import Limits
from .net.proxy.protocol import ProxyProtocol
from .net.tls.context import TLS, PeerCertificate
from .server import Handler, Server, ServerState, ServerStats, run
from .threads import Pending, blocking

__all__ = [
    "TLS",
    "Address",
    "BindError",
    "Client",
    "CloseReason",
    "CommitUnknown",
    "Connection",
    "ConnectionClosed",
    "ConnectionHandler",
    "Connections",
    "FrameError",
    "Handler",
    "Heartbeat",
    "Limits",
    "MooringError",
    "PeerCertificate",
    "Pending",
    "PoolBusy",
    "PoolClosed",
    "PoolError",
    "PoolTimeout",
    "PoolUnavailable",
    "ProxyProtocol",
    "QueueFull",
    "Reply",
    "Router",
    "Server",
    "ServerState",
    "ServerStats",
    "blocking",
    "run",
]
