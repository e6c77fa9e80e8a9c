"""What a server needs to speak TLS: the user's choices, the context that OpenSSL makes of them, and a peer's names."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from ...errors import BindError

VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}

TICKETS: Final = 1
"""Tickets that a client gets in TLS 1.3: a device comes back with one connection, and needs no more to resume it. They
hold the session encrypted, so the server keeps none."""

_BLOCK: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TLS:
    """How a server speaks TLS on its ``tls://`` addresses.

    Nothing is read before the server is initialized, and again by ``Server.reload_tls``.

    Args:
        certificate: a PEM file with the server's certificate first, and those of the authorities between it and the
            root after.
        key: a PEM file with its private key, without a password; None: it is in ``certificate``.
        client_ca: a PEM file with the authorities of the clients. Clients must then have a certificate of one of them
            (mTLS), which handlers find as ``connection.peer_certificate``. None: clients need no certificate.
        minimum: the oldest version: "TLSv1.2" or "TLSv1.3".
        alpn: names of protocols that are offered, best first (RFC 7301); clients that ask for none are served as well.
        handshake_timeout: seconds within which a new connection must have finished its handshake.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """

    certificate: str | os.PathLike[str]
    key: str | os.PathLike[str] | None = None
    client_ca: str | os.PathLike[str] | None = None
    minimum: str = "TLSv1.2"
    alpn: tuple[str, ...] = ()
    handshake_timeout: float = 10.0

    def __post_init__(self) -> None:
        for name in ("certificate", "key", "client_ca"):
            _check_path(name, getattr(self, name), required=name == "certificate")
        if self.minimum not in VERSIONS:
            raise ValueError(f"TLS: minimum is {self.minimum!r}; choose one of {', '.join(VERSIONS)}")
        alpn: Any = self.alpn
        if isinstance(alpn, str | bytes):
            raise TypeError(f"TLS: alpn is {alpn!r}; it must be a list of names")
        object.__setattr__(self, "alpn", tuple(self.alpn))
        for name in self.alpn:
            if not isinstance(name, str) or not name.isascii() or not 0 < len(name) < 256:
                raise ValueError(f"TLS: alpn has {name!r}; a name is 1 to 255 ASCII characters")
        timeout: Any = self.handshake_timeout
        if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not 0 < timeout < float("inf"):
            raise ValueError(f"TLS: handshake_timeout is {timeout!r}; it must be more than 0 seconds")


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """What a client's certificate says of it; its authority has been checked.

    Attributes:
        common_name: the subject's; None if it has none.
        dns_names, uris: of the subject's alternative names.
        serial: in hexadecimal digits, as the authority counts.
        not_after: when it expires, in Unix seconds.
        fingerprint: SHA-256 over the whole certificate, in hexadecimal digits.
    """

    common_name: str | None
    dns_names: tuple[str, ...]
    uris: tuple[str, ...]
    serial: str
    not_after: float
    fingerprint: str

    @property
    def names(self) -> tuple[str, ...]:
        """All that the certificate calls its owner."""
        common = () if self.common_name is None else (self.common_name,)
        return (*common, *self.dns_names, *self.uris)


def read_peer_certificate(handshaken: ssl.SSLObject) -> PeerCertificate | None:
    """What the other side has proved to be; None if it was not asked for a certificate."""
    found: dict[str, Any] | None = handshaken.getpeercert()
    whole = handshaken.getpeercert(binary_form=True)
    if not found or whole is None:
        return None
    subject = [pair for part in found.get("subject", ()) for pair in part]
    others: tuple[tuple[str, str], ...] = found.get("subjectAltName", ())
    return PeerCertificate(
        common_name=next((value for name, value in subject if name == "commonName"), None),
        dns_names=tuple(value for kind, value in others if kind == "DNS"),
        uris=tuple(value for kind, value in others if kind == "URI"),
        serial=found.get("serialNumber", ""),
        not_after=float(ssl.cert_time_to_seconds(found["notAfter"])),
        fingerprint=hashlib.sha256(whole).hexdigest(),
    )


@dataclass(frozen=True, slots=True)
class ServerContext:
    """What handshakes are made with, until the next reload.

    Attributes:
        context: OpenSSL's; shared by all connections that were made with it.
        not_after: when the certificate expires, in Unix seconds.
    """

    context: ssl.SSLContext
    not_after: float


def make_context(tls: TLS) -> ServerContext:
    """Read the files and try them, so that what is wrong with them is seen now and not by the first client.

    Raises:
        BindError: names the file, what is wrong with it, and what to do.
    """
    not_after = _try(tls, _bare_context(tls))
    context = _bare_context(tls)
    if tls.client_ca is not None:
        _read_authorities(context, os.fspath(tls.client_ca))
        context.verify_mode = ssl.CERT_REQUIRED
    return ServerContext(context, not_after)


def _bare_context(tls: TLS) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[tls.minimum]
    # Renegotiation lets a client ask for one dear handshake after the other on one connection; compression tells
    # secrets by the length of what is sent (CRIME).
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = TICKETS
    if tls.alpn:
        context.set_alpn_protocols(list(tls.alpn))
    _load_pair(context, tls)
    return context


def _load_pair(context: ssl.SSLContext, tls: TLS) -> None:
    certificate = os.fspath(tls.certificate)
    key = certificate if tls.key is None else os.fspath(tls.key)
    if "-----BEGIN CERTIFICATE-----" not in _text_of(certificate, "certificate"):
        _refuse("certificate", certificate, "there is no certificate in PEM form in it")
    if "PRIVATE KEY-----" not in _text_of(key, "key"):
        _refuse("key", key, "there is no private key in PEM form in it; name its file as `key` (--tls-key)")

    def no_password() -> str:
        plain = f"openssl pkey -in {key} -out PLAIN.pem"
        _refuse("key", key, f"it has a password, which nobody is there to type; write it without one: {plain}")

    try:
        context.load_cert_chain(certificate, key, password=no_password)
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            _refuse("key", key, f"it is not the key of the certificate {certificate}; give the one it was made with")
        _refuse("certificate", certificate, f"OpenSSL refuses it or its key {key}: {_reason(exc)}")


def _read_authorities(context: ssl.SSLContext, path: str) -> None:
    if "-----BEGIN" not in _text_of(path, "client_ca"):
        _refuse("client_ca", path, "there is no certificate in PEM form in it")
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as exc:
        _refuse("client_ca", path, f"OpenSSL refuses it: {_reason(exc)}")


def _try(tls: TLS, context: ssl.SSLContext) -> float:
    """Shake hands with ourselves as a client that trusts this one certificate; returns when it expires."""
    path = os.fspath(tls.certificate)
    found = _BLOCK.search(_text_of(path, "certificate"))
    assert found is not None
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        client.load_verify_locations(cadata=found.group() + "\n")
        seen: Any = _shake_hands(context, client).getpeercert()
    except ssl.SSLCertVerificationError as exc:
        _refuse("certificate", path, f"clients would refuse it: {exc.verify_message}; renew it")
    except ssl.SSLError as exc:
        _refuse("certificate", path, f"no handshake can be made with it: {_reason(exc)}")
    return float(ssl.cert_time_to_seconds(seen["notAfter"]))


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(back, there)
    sides = [ours, server.wrap_bio(there, back, server_side=True)]
    for _ in range(10):  # more flights than any handshake has
        for side in list(sides):
            try:
                side.do_handshake()
                sides.remove(side)
            except ssl.SSLWantReadError:
                pass
        if not sides:
            break
    return ours


def _text_of(path: str, name: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(1 << 20)
    except OSError as exc:
        hint = "; the user of this process must be able to read it" if isinstance(exc, PermissionError) else ""
        raise BindError(f"TLS: {name} {path}: {(exc.strerror or str(exc)).lower()}{hint}") from exc


def _refuse(name: str, path: str, why: str) -> NoReturn:
    raise BindError(f"TLS: {name} {path}: {why}")


def _reason(exc: ssl.SSLError) -> str:
    return (exc.reason or str(exc)).lower().replace("_", " ")


def _check_path(name: str, path: object, *, required: bool) -> None:
    if path is None and not required:
        return
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise TypeError(f"TLS: {name} is {path!r}; it must be the path of a PEM file")
