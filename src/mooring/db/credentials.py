"""What a MySQL connection proves itself by, and has proved to it: the password, and TLS."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from ..errors import PoolError
from .dialing import is_loopback
from .url import DatabaseURL

Password = str | Callable[[], str] | None


def current_password(url: DatabaseURL, password: Password) -> str:
    """The password of this moment: given beside the URL, or in the file that it names, or in the URL.

    Raises:
        PoolError: the function raised. OSError, UnicodeDecodeError: the file cannot be read.
    """
    if callable(password):
        try:
            return password()
        except Exception as exc:
            raise PoolError(f"the password function raised {type(exc).__name__}: {exc}") from exc
    if password is not None:
        return password
    if url.password_file is not None:
        return Path(url.password_file).read_text(encoding="utf-8").split("\n", 1)[0].rstrip("\r")
    return url.password or ""


def ssl_mode(url: DatabaseURL, host: str) -> str:
    """How a connection to ``host`` is encrypted; one of ``url.SSL_MODES``."""
    if url.unix_socket is not None:
        return "disabled"
    return url.ssl_mode or ("disabled" if is_loopback(host) else "preferred")


class SharedTLS:
    """One TLS context for all connections of a pool: making one costs 28 ms of CPU.

    ``_context`` is guarded by ``_lock``.
    """

    def __init__(self, url: DatabaseURL) -> None:
        self._url = url
        self._context: ssl.SSLContext | None = None
        self.renew()

    def renew(self) -> None:
        """In a forked child: replace the lock, which a thread of the parent may have held."""
        self._lock = threading.Lock()

    def context(self) -> ssl.SSLContext:
        """The context, made at the first call.

        Raises:
            PoolError: a file cannot be used.
        """
        with self._lock:
            if self._context is None:
                try:
                    self._context = _make_context(self._url)
                except OSError as exc:
                    files = ", ".join(filter(None, (self._url.ssl_ca, self._url.ssl_cert, self._url.ssl_key)))
                    raise PoolError(f"cannot use the certificates in {files}: {exc}") from exc
            return self._context


def _make_context(url: DatabaseURL) -> ssl.SSLContext:
    verifies = url.ssl_mode in ("verify_ca", "verify_identity")
    if verifies:
        context = ssl.create_default_context(cafile=url.ssl_ca)
        # Certificates that MySQL makes for itself lack what Python demands from 3.13 on.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = url.ssl_mode == "verify_identity"
    else:
        # Encrypted, as the mysql command does by itself; nobody is authenticated by it.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if url.ssl_cert is not None:
        context.load_cert_chain(url.ssl_cert, url.ssl_key)
    return context
