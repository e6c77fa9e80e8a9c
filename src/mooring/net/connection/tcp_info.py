"""What the kernel knows of a TCP connection: TCP_INFO of tcp(7). It counts anyway, so asking is all that it costs."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Final

# linux/tcp.h, struct tcp_info: 8 bytes of states and flags, 24 numbers of 32 bits, then
# 64 bits for rates and bytes.
_NUMBERS: Final = struct.Struct("=8x24I4Q2I")
_RTT, _RTTVAR, _RETRANSMITS = 15, 16, 23
_BYTES_ACKED, _BYTES_RECEIVED = 26, 27


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """A TCP connection as the kernel sees it.

    Attributes:
        round_trip: smoothed time to the peer and back, in seconds.
        round_trip_variation: how much it varies, in seconds.
        retransmits: segments that were sent again.
        bytes_received: from the peer.
        bytes_acknowledged: sent by us, and known to have arrived.
    """

    round_trip: float
    round_trip_variation: float
    retransmits: int
    bytes_received: int
    bytes_acknowledged: int


def tcp_info(sock: socket.socket) -> TcpInfo | None:
    """Ask the kernel; None for a socket that is closed or not TCP, or a kernel older than Linux 4.1."""
    if sock.family == socket.AF_UNIX:
        return None
    try:
        data = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except OSError:
        return None
    if len(data) < _NUMBERS.size:
        return None
    fields = _NUMBERS.unpack_from(data)
    return TcpInfo(
        round_trip=fields[_RTT] / 1e6,
        round_trip_variation=fields[_RTTVAR] / 1e6,
        retransmits=fields[_RETRANSMITS],
        bytes_received=fields[_BYTES_RECEIVED],
        bytes_acknowledged=fields[_BYTES_ACKED],
    )
