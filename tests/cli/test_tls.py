"""TLS by the command: options, banner, reload on HUP, and what keeps the server from starting."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from certificates import DAY, Authority, Pair
from click.testing import CliRunner
from processes import PythonProcess

from mooring import Client
from mooring.cli import group

SERVE = ("-m", "mooring", "serve", "--admin", "off")
BIND = ("--bind", "tls://127.0.0.1:0")


def pair_of(pair: Pair) -> tuple[str, ...]:
    return ("--tls-cert", str(pair.certificate), "--tls-key", str(pair.key))


def address_of(process: PythonProcess) -> str:
    process.wait_for_line("Ctrl-C")
    return next(line for line in process.output.splitlines() if line.startswith("listening")).split()[1]


def serial_at(address: str, authority: Authority) -> str:
    with Client(address, tls=authority.believing) as client:
        layer: Any = client.socket
        return str(layer.ssl.getpeercert()["serialNumber"])


def test_a_hup_reads_the_certificate_again_and_a_broken_one_changes_nothing(authority: Authority, folder: Path) -> None:
    pair = authority.local("renewed")
    with PythonProcess(*SERVE, *BIND, *pair_of(pair), "--database", "sqlite://", cwd=folder) as process:
        address = address_of(process)
        assert address.startswith("tls://127.0.0.1:")
        assert f"{pair.certificate}, valid until 20" in process.output
        first = serial_at(address, authority)
        authority.local("renewed")
        process.signal(signal.SIGHUP)
        process.wait_for_line("new connections get the certificate")
        second = serial_at(address, authority)
        assert second != first
        pair.certificate.write_text("broken")
        process.signal(signal.SIGHUP)
        process.wait_for_line("there is no certificate in PEM form in it; the settings stay as they were")
        assert serial_at(address, authority) == second
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


def test_a_hup_takes_another_file_that_the_settings_name(authority: Authority, folder: Path) -> None:
    before, after = authority.local("before"), authority.local("after")
    settings = folder / "mooring.toml"
    text = 'bind = ["tls://127.0.0.1:0"]\ndatabase = "sqlite://"\n[tls]\ncertificate = "{}"\nkey = "{}"\n'
    settings.write_text(text.format(before.certificate, before.key))
    with PythonProcess(*SERVE, cwd=folder) as process:
        address = address_of(process)
        serial = serial_at(address, authority)
        settings.write_text(text.format(after.certificate, after.key))
        process.signal(signal.SIGHUP)
        process.wait_for_line("reload: taken over: tls.certificate")
        assert serial_at(address, authority) != serial
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("expired", "certificate has expired; renew it"),
        ("mismatched", "it is not the key of the certificate"),
        ("missing", "no such file"),
        ("plain address", "nothing would be encrypted on tcp://127.0.0.1:7000; listen on tls://HOST:PORT"),
        ("no certificate", "tls://127.0.0.1:0 needs a certificate"),
        ("key alone", "there is no certificate; give --tls-cert"),
        ("auth", "the gateway must ask for one"),
    ],
)
def test_check_says_what_cannot_work(authority: Authority, folder: Path, what: str, text: str) -> None:
    good, other = authority.server, authority.local("other")
    old = authority.sign("expired", begin=-3 * DAY, end=-DAY)
    arguments = {
        "expired": (*BIND, *pair_of(old)),
        "mismatched": (*BIND, *pair_of(Pair(good.certificate, other.key))),
        "missing": (*BIND, *pair_of(Pair(folder / "none.pem", good.key))),
        "plain address": pair_of(good),
        "no certificate": BIND,
        "key alone": (*BIND, "--tls-key", str(good.key)),
        "auth": (*BIND, *pair_of(good), "--auth", "certificate"),
    }[what]
    result = CliRunner().invoke(group, ["check", "--database", "sqlite://", *arguments], prog_name="mooring")
    assert result.exit_code == 78
    assert text in result.output


def test_a_certificate_of_no_use_refuses_the_start(authority: Authority, folder: Path) -> None:
    old = authority.sign("expired", begin=-3 * DAY, end=-DAY)
    with PythonProcess(*SERVE, *BIND, *pair_of(old), "--database", "sqlite://", cwd=folder) as process:
        assert process.wait() == 3
    assert f"TLS: certificate {old.certificate}: clients would refuse it: certificate has expired" in process.output


def test_check_is_content_with_a_good_pair(authority: Authority) -> None:
    arguments = ["check", "--database", "sqlite://", *BIND, *pair_of(authority.server)]
    result = CliRunner().invoke(group, arguments, prog_name="mooring")
    assert result.exit_code == 0, result.output
    assert "listening on tls://127.0.0.1:0" in result.output


def test_simulated_devices_verify_the_gateway_and_log_in_by_their_certificate(
    authority: Authority, folder: Path
) -> None:
    devices = authority.sign("sim-1")
    serve = (*SERVE, *BIND, *pair_of(authority.server), "--tls-client-ca", str(authority.certificate))
    with PythonProcess(*serve, "--auth", "certificate", "--database", f"sqlite:///{folder}/x.db") as process:
        simulate = ("-m", "mooring", "simulate", "--server", address_of(process), "--devices", "1", "--rate", "50")
        with PythonProcess(
            *simulate, "--duration", "0.5", "--tls-ca", str(authority.certificate), *pair_of(devices)
        ) as run:
            assert run.wait() == 0, run.output
        with PythonProcess(*simulate, "--duration", "0.2") as run:
            assert run.wait() == 1
            assert "certificate verify failed" in run.output
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
