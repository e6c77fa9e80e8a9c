"""What the banner says of a gateway."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ..net.address import Address

Fact = tuple[str, str, str]

HELLO_AND_PUSH = r"""printf '{"op":"hello","device":"a"%s}\n{"op":"push","seq":1,"data":{"v":1}}\n'"""


def gateway_facts(
    facts: list[Fact],
    addresses: Sequence[Address],
    *,
    in_memory: bool,
    auth: str,
    speaks_json: bool,
    files: str | None,
    database: str,
) -> list[Fact]:
    """Add to a server's facts who may log in and how to try it.

    Args:
        facts: the server's, as (word, value, remark).
        addresses: where it listens, at least one.
        in_memory: the database ends with the server.
        auth: "none", "token" or "certificate".
        speaks_json: netcat can be a device.
        files: the directory that devices may pull from.
        database: its URL, without the password.
    """
    kept = "gone when the server ends" if in_memory else "kept when the server ends"
    lines = [(word, value, f"table pushes; {kept}" if word == "storing" else remark) for word, value, remark in facts]
    if files is not None:
        lines.append(("files", files, ""))
    if auth == "none":
        lines.append(("devices", "any name may log in (--auth none)", ""))
    elif auth == "certificate":
        lines.append(("devices", "those with a certificate, by a name that stands in it (--auth certificate)", ""))
    else:
        add = f"{_program()} devices add NAME --database {database}"
        lines.append(("devices", f"those with a token (--auth token); {add}", ""))
    exposed = [address for address in addresses if not address.is_loopback]
    plain = [str(address) for address in exposed if not address.tls]
    if plain:
        lines.append(("warning", _warning(", ".join(plain), auth), ""))
    elif exposed and auth == "none":
        reach = ", ".join(map(str, exposed))
        lines.append(("warning", f"who reaches {reach} can log in by any name", ""))
    if speaks_json and auth != "certificate":
        token = ',"token":"…"' if auth == "token" else ""
        lines.append(("try", f"{HELLO_AND_PUSH.replace('%s', token)} | {_netcat(addresses[0])}", ""))
    return lines


def _warning(exposed: str, auth: str) -> str:
    if auth == "none":
        return f"who reaches {exposed} can log in by any name, and nothing is encrypted"
    return f"nothing is encrypted: who listens on the way to {exposed} sees tokens and data; listen on tls://"


def _program() -> str:
    """How the command was called, so that the line can be typed as it is."""
    path = sys.argv[0]
    if os.path.basename(path) != "mooring":
        return "mooring"
    relative = os.path.relpath(path)
    return relative if len(relative) < len(path) else path


def _netcat(address: Address) -> str:
    """The command that connects to an address; -N passes the end of the input on."""
    if address.tls:
        return f"openssl s_client -quiet -connect {address.host}:{address.port}"
    if address.is_unix:
        return f"nc -N -U {address.path}"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104
    return f"nc -N {host} {address.port}"
