"""What the banner says of a gateway."""

from __future__ import annotations

from collections.abc import Sequence

from ..net.address import Address

Fact = tuple[str, str, str]

HELLO_AND_PUSH = r"""printf '{"op":"hello","device":"a"}\n{"op":"push","seq":1,"data":{"v":1}}\n'"""


def gateway_facts(facts: list[Fact], addresses: Sequence[Address], *, in_memory: bool) -> list[Fact]:
    """Add to a server's facts who may log in and how to try it.

    Args:
        facts: the server's, as (word, value, remark).
        addresses: where it listens, at least one.
        in_memory: the database ends with the server.
    """
    kept = "gone when the server ends" if in_memory else "kept when the server ends"
    lines = [(word, value, f"table pushes; {kept}" if word == "storing" else remark) for word, value, remark in facts]
    lines.append(("devices", "any name may log in (--auth none)", ""))
    exposed = [str(address) for address in addresses if not address.is_loopback]
    if exposed:
        warning = f"who reaches {', '.join(exposed)} can log in by any name, and nothing is encrypted"
        lines.append(("warning", warning, ""))
    lines.append(("try", f"{HELLO_AND_PUSH} | {_netcat(addresses[0])}", ""))
    return lines


def _netcat(address: Address) -> str:
    """The command that connects to an address; -N passes the end of the input on."""
    if address.is_unix:
        return f"nc -N -U {address.path}"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104
    return f"nc -N {host} {address.port}"
