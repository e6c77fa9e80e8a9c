"""``ProxyProtocol``: a load balancer in front says whose connection it is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..networks import Network, parse_networks


@dataclass(frozen=True, slots=True)
class ProxyProtocol:
    """Every connection begins with a header of the PROXY protocol, which says whose it is.

    ``connection.peer`` is then the device's address, for logs, limits, metrics and traces. Whether there is a header is
    never guessed: each connection of the server must begin with one of this version, before TLS, and must come from
    ``trusted``; all others are closed and counted. Unix sockets are trusted: who may connect to them is a matter of
    their file's mode.

    A connection that the balancer makes for itself (LOCAL, for its health checks), or of whose client it does not know
    (UNKNOWN), keeps the balancer's address; ``Limits`` do not hold for that.

    Args:
        version: 1 (a line of text) or 2 (binary).
        trusted: networks of the balancers, such as ``"10.0.0.0/24"``: who is in them may claim any address.
        timeout: seconds within which the header must be complete.

    Raises:
        ValueError, TypeError: names the argument and what is expected.
    """

    version: int
    trusted: str | Iterable[str | Network] = ()
    timeout: float = 5.0

    def __post_init__(self) -> None:
        if self.version not in (1, 2) or isinstance(self.version, bool):
            raise ValueError(f"ProxyProtocol: version is {self.version!r}; it must be 1 or 2, as the balancer sends")
        object.__setattr__(self, "trusted", parse_networks("ProxyProtocol: trusted", self.trusted))
        is_time = isinstance(self.timeout, int | float) and not isinstance(self.timeout, bool)
        if not is_time or not 0 < self.timeout < math.inf:
            raise ValueError(f"ProxyProtocol: timeout is {self.timeout!r}; it must be more than 0 seconds")

    def trusted_networks(self) -> tuple[Network, ...]:
        """``trusted``, read."""
        return parse_networks("ProxyProtocol: trusted", self.trusted)
