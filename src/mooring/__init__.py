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
from .net.connection import Connection
from .net.connections import Connections
from .net.life import CloseReason
from .net.limits import Limits
from .net.proxy_protocol import ProxyProtocol
from .net.tls import TLS, PeerCertificate
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
