"""The server: what it is told, what it is made of, and its life from the first argument to the last connection."""

from .configuration import Configuration
from .dump import log_dump
from .introduction import Introduction, banner, print_banner
from .lifecycle import ServerState
from .process import run
from .server import Handler, Server
from .stats import ServerStats

__all__ = [
    "Configuration",
    "Handler",
    "Introduction",
    "Server",
    "ServerState",
    "ServerStats",
    "banner",
    "log_dump",
    "print_banner",
    "run",
]
