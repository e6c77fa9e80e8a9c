"""A server with an admin side, and somebody who asks it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mooring import Client, Connection, Router, Server
from mooring.admin.listening import Place
from mooring.admin.service import AdminSide

TOKEN = "t" * 40
VIEWER = "v" * 40


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Asker:
    """Asks an admin side over HTTP, a connection for each question."""

    def __init__(self, port: int, token: str | None = TOKEN) -> None:
        self.port = port
        self.token = token

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        raw: bytes | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        if data is not None:
            sent["Content-Type"] = "application/json"
        try:
            connection.request(method, path, data, sent | (headers or {}))
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, **body: Any) -> Answer:
        return self.ask("POST", f"/api/v1{path}", body)


def make_router() -> Router:
    router = Router(lambda message: message.split(b" ")[0].decode())

    @router.on("ping")
    def ping(connection: Connection, message: bytes) -> bytes:
        return b"pong"

    @router.on("login")
    def login(connection: Connection, message: bytes) -> bytes:
        connection.identify(message.partition(b" ")[2].decode())
        return b"hello"

    @router.on("store", blocking=True)
    def store(connection: Connection, message: bytes) -> bytes:
        with connection.server.database.connection() as lease:
            lease.execute("SELECT 1").fetchone()
        return b"stored"

    @router.on("fail")
    def fail(connection: Connection, message: bytes) -> bytes:
        raise RuntimeError("nonsense <b>from</b> the meter")

    return router


MakeServer = Callable[..., Server]
MakeAdmin = Callable[..., AdminSide]


@pytest.fixture
def make_server(folder: Path) -> Iterator[MakeServer]:
    with ExitStack() as stack:

        def make(name: str = "meters", **options: Any) -> Server:
            options.setdefault("database", f"sqlite:///{folder}/{len(list(folder.iterdir()))}.db")
            options.setdefault("bind", "tcp://127.0.0.1:0")
            return stack.enter_context(Server(make_router(), name=name, **options))

        yield make


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    return make_server()


@pytest.fixture
def make_admin() -> Iterator[MakeAdmin]:
    with ExitStack() as stack:

        def make(*servers: Server, **options: Any) -> AdminSide:
            options.setdefault("token", TOKEN)
            return stack.enter_context(AdminSide(servers, Place(port=0), **options))

        yield make


@pytest.fixture
def admin(server: Server, make_admin: MakeAdmin) -> AdminSide:
    return make_admin(server, viewer_token=VIEWER)


@pytest.fixture
def asker(admin: AdminSide) -> Asker:
    return Asker(admin.port)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(str(server.addresses[0])) as client:
        yield client


def ask_device(client: Client, message: bytes) -> bytes:
    client.send(message)
    return client.recv()
