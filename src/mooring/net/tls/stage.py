"""The stage in which a new socket does its TLS handshake, and what is said of those that fail."""

from __future__ import annotations

import ssl
from typing import Any, Final

from ..accepting.opening import OpeningFailed
from .context import ServerContext
from .layer import NoTLS, TLSSocket, reason_of

HTTP: Final = (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"CONN", b"PRI ")

OUR_CERTIFICATE: Final = "the peer refuses our certificate: {}; does it know the authority, and is it the right name?"
TROUBLES: Final = {
    "UNSUPPORTED_PROTOCOL": ("version", "the peer offers no version of TLS that is allowed here (tls.minimum)"),
    "NO_SHARED_CIPHER": ("cipher", "the peer and we have no cipher in common"),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": (
        "certificate",
        "the peer has no certificate, and clients must have one (tls.client_ca)",
    ),
    "WRONG_VERSION_NUMBER": ("not_tls", "what the peer says is no TLS"),
    "HTTP_REQUEST": ("not_tls", "the peer speaks plain HTTP"),
    "TLSV1_ALERT_UNKNOWN_CA": ("refused", OUR_CERTIFICATE),
    "SSLV3_ALERT_BAD_CERTIFICATE": ("refused", OUR_CERTIFICATE),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": ("refused", OUR_CERTIFICATE),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": ("refused", OUR_CERTIFICATE),
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": ("refused", OUR_CERTIFICATE),
}
"""OpenSSL's reasons: one word for counters, and a sentence for people."""


class TLSStage:
    """Makes handshakes with the context of the moment; see Stage.

    Args:
        context: of the server; another one may be put in its place at any time, for the handshakes that begin after.
        timeout: seconds.
    """

    name = "tls"
    setting = "tls.handshake_timeout"

    def __init__(self, context: ServerContext, timeout: float) -> None:
        self.context = context
        self.timeout = timeout

    def begin(self, sock: Any) -> TLSHandshake:
        """See Stage."""
        return TLSHandshake(TLSSocket(sock, self.context.context))


class TLSHandshake:
    """One handshake; see Step."""

    def __init__(self, sock: TLSSocket) -> None:
        self.socket = sock

    def advance(self) -> int:
        """See Step."""
        try:
            return self.socket.shake_hands()
        except NoTLS as exc:
            raise OpeningFailed("not_tls", _plain(exc.data)) from None
        except EOFError:
            raise OpeningFailed("gone", "the peer went away in its handshake") from None
        except ssl.SSLError as exc:
            raise OpeningFailed(*_trouble(exc)) from None


def _plain(data: bytes) -> str:
    what = "plain HTTP" if data.startswith(HTTP) else f"no TLS (it began with {data[:8]!r})"
    return f"the peer speaks {what}, and this address takes TLS only"


def _trouble(exc: ssl.SSLError) -> tuple[str, str]:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return "certificate", f"the peer's certificate was refused: {exc.verify_message}"
    word, text = TROUBLES.get(exc.reason or "", ("failed", "the handshake failed: {}"))
    return word, text.format(reason_of(exc))
