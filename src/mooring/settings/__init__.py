"""The settings of the ``mooring`` command. Nothing else reads them: servers and pools take plain arguments."""

from .fields import Field, fields
from .loading import Loaded, changes, load
from .schema import Settings
from .sources import Origin, Problem
from .values import BindAddress, DatabaseText, Duration, HeartbeatTimes, NetworkText, Secret, Size, ThreadCounts

__all__ = [
    "BindAddress",
    "DatabaseText",
    "Duration",
    "Field",
    "HeartbeatTimes",
    "Loaded",
    "NetworkText",
    "Origin",
    "Problem",
    "Secret",
    "Settings",
    "Size",
    "ThreadCounts",
    "changes",
    "fields",
    "load",
]
