"""``mooring bench ingest``: what is counted is in the table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mooring.bench.contenders import INGEST_OURS, INGEST_PEERS, INGEST_SINGLE, Contender
from mooring.bench.measurements import ingest
from mooring.bench.process import ProcessFailed
from mooring.bench.pushing import Pushed, SQLiteTables, push
from mooring.bench.session import Session

LIAR = """
import json, socketserver, sys

class Liar(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            message = json.loads(line)
            answer = {"op": "welcome"} if message["op"] == "hello" else {"op": "ack", "seq": message["seq"]}
            self.wfile.write(json.dumps(answer).encode() + b"\\n")

class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

Server(("127.0.0.1", int(sys.argv[1])), Liar).serve_forever()
"""


@pytest.mark.parametrize("load", [{"depth": 4}, {"rate": 200.0}], ids=["closed", "open"])
def test_pushes_to_the_gateway_are_found_in_its_table(session: Session, folder: Path, load: dict[str, float]) -> None:
    session.settings = replace(session.settings, window=0.5)  # so that a busy machine has time for some pushes
    pushed = push(session, INGEST_OURS, SQLiteTables(folder, 3), 3, load)
    assert pushed.rate > 0
    assert 0 < pushed.p50 <= pushed.p99
    assert (pushed.late is not None) == ("rate" in load)


def test_a_server_that_acknowledges_what_it_does_not_store_has_no_figure(session: Session, folder: Path) -> None:
    script = folder / "liar.py"
    script.write_text(LIAR)
    with pytest.raises(ProcessFailed, match="0 are stored"):
        push(session, Contender("liar", str(script)), SQLiteTables(folder, 3), 3, {"depth": 1})


def test_the_best_peer_is_the_one_with_the_best_median(session: Session) -> None:
    for number, peer in enumerate(INGEST_PEERS):
        session.keep(ingest.BENCHMARK, ingest.case(1), peer.name)(ingest.RATE, "1/s", 100.0 * number)
        session.keep(ingest.BENCHMARK, ingest.P99_AT_HALF, peer.name)(ingest.P99, "ms", 10.0 + number)
    session.keep(ingest.BENCHMARK, ingest.case(1), INGEST_SINGLE.name)(ingest.RATE, "1/s", 1e9)
    ingest._keep_best(session)
    best = session.results.find(ingest.BENCHMARK, ingest.case(1), ingest.BEST, ingest.RATE)
    quickest = session.results.find(ingest.BENCHMARK, ingest.P99_AT_HALF, ingest.BEST, ingest.P99)
    assert best is not None
    assert best.median == 100.0 * (len(INGEST_PEERS) - 1)
    assert quickest is not None
    assert quickest.median == 10.0


def test_ours_is_also_measured_at_the_very_rate_at_which_the_best_peer_is_at_its_half(
    session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[dict[str, float]] = []

    def note(session: Session, one: Contender, tables: SQLiteTables, devices: int, load: dict[str, float]) -> Pushed:
        loads.append(load)
        return Pushed(rate=load["rate"], p50=0.001, p99=0.002, cpu=0.0, late=0.0)

    monkeypatch.setattr(ingest, "push", note)
    for depth, rate in zip(ingest.DEPTHS, (8000.0, 9000.0), strict=True):
        session.keep(ingest.BENCHMARK, ingest.case(depth), ingest.BEST)(ingest.RATE, "1/s", rate)
    ingest._their_half(session, SQLiteTables(folder, 3))(INGEST_OURS)
    assert loads == [{"rate": 4500.0}]
    figure = session.results.find(ingest.BENCHMARK, ingest.P99_AT_THEIR_HALF, INGEST_OURS.name, ingest.P99)
    assert figure is not None
    assert figure.median == 2.0
