"""The banner, from what servers say of themselves."""

from __future__ import annotations

from mooring import Address
from mooring.server import Introduction, banner
from mooring.server.introduction import listening_fact


def test_the_banner_of_several_servers_has_the_values_of_each_in_a_column() -> None:
    facts = [("listening", "tcp://127.0.0.1:7000", "near"), ("listening", "unix:/x", "here"), ("storing", "y", "")]
    text = banner(
        [Introduction("first", "hybrid", (2, 64), facts), Introduction("second", "epoll", None, [])],
        [("dashboard", "http://127.0.0.1:9")],
    )
    head, *lines, second, dashboard, stop = text.splitlines()
    assert head.startswith("mooring ")
    assert head.endswith("model hybrid, 2-64 threads, first")
    assert lines == [
        "listening  tcp://127.0.0.1:7000   near",
        "listening  unix:/x                here",
        "storing    y",
    ]
    assert second.endswith("model epoll, second")
    assert dashboard == "dashboard  http://127.0.0.1:9"
    assert stop == "stop       Ctrl-C drains, a second one stops at once"


def test_who_can_reach_an_address_stands_beside_it() -> None:
    assert listening_fact(Address("0.0.0.0", 7)) == ("listening", "tcp://0.0.0.0:7", "")
    assert listening_fact(Address(path="/x"))[2] == "this machine only"
    assert "--bind tcp://0.0.0.0:7 lets the network in" in listening_fact(Address("127.0.0.1", 7))[2]
    assert "--bind tls://0.0.0.0:7 lets" in listening_fact(Address("127.0.0.1", 7, tls=True))[2]
