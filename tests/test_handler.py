"""Handlers: which are refused, what a Router does with a message, and what a wrong handler does to its connection."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from waiting import wait_until

from mooring import Client, CloseReason, ConnectionClosed, ConnectionHandler, FrameError, Router, Server
from mooring.handler import check_signature, describe
from mooring.net.connection.connection import Connection

HERE = "tcp://127.0.0.1:0"


def fits(connection: Connection, message: bytes) -> bytes:
    return message


def one_argument(message: bytes) -> bytes:
    return message


def three_arguments(connection: Connection, message: bytes, extra: int) -> bytes:
    return message


def keyword_only(connection: Connection, *, message: bytes) -> bytes:
    return message


async def coroutine(connection: Connection, message: bytes) -> bytes:
    return message


class Callable2:
    def __call__(self, connection: Connection, message: bytes) -> bytes:
        return message

    def method(self, connection: Connection, message: bytes) -> bytes:
        return message

    def short(self, connection: Connection) -> None: ...


class WrongReceived(ConnectionHandler):
    def received(self) -> None:  # type: ignore[override]
        ...


class WrongConnected(ConnectionHandler):
    def connected(self, extra: int) -> None:  # type: ignore[override]
        ...


class WrongLost(ConnectionHandler):
    def lost(self) -> None:  # type: ignore[override]
        ...


class WrongMalformed(ConnectionHandler):
    def malformed(self) -> None:  # type: ignore[override]
        ...


class WrongInit(ConnectionHandler):
    def __init__(self) -> None: ...


class AsyncReceived(ConnectionHandler):
    async def received(self, message: bytes) -> bytes:  # type: ignore[override]
        return message


# What Server(...) refuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handler", "complaint"),
    [
        (
            one_argument,
            r"one_argument(message: 'bytes') -> 'bytes' does not fit: it is called as (connection, message)",
        ),
        (three_arguments, "three_arguments"),
        (keyword_only, "keyword_only"),
        (lambda: None, "<lambda>() does not fit"),
        (coroutine, "coroutine is a coroutine function; handlers are plain functions (connection, message)"),
        (Callable2().short, "short"),
        (functools.partial(fits, None, None), "does not fit"),
        (WrongReceived, "WrongReceived.received(self) -> 'None' does not fit: it is called as (self, message)"),
        (WrongConnected, "WrongConnected.connected"),
        (WrongLost, "it is called as (self, reason)"),
        (WrongMalformed, "it is called as (self, error)"),
        (WrongInit, "it is called as (connection)"),
        (AsyncReceived, "received is a coroutine function"),
        (WrongReceived(None), "a subclass of ConnectionHandler (the class, not an object of it)"),  # type: ignore[arg-type]
        (Callable2, "is no handler"),
        (None, "is no handler: a handler is a function (connection, message) -> reply"),
        (b"echo", "is no handler"),
        (Router(lambda message: message), "the Router has no routes: add some with @router.on(key)"),
    ],
)
def test_a_handler_of_the_wrong_kind_or_signature_is_refused(handler: Any, complaint: str) -> None:
    with pytest.raises(TypeError) as caught:
        Server(handler, bind=HERE)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "handler",
    [
        fits,
        Callable2(),
        Callable2().method,
        functools.partial(three_arguments, extra=1),
        lambda *everything: None,
        lambda connection, message, more=1: None,
        ConnectionHandler,
    ],
)
def test_whatever_can_be_called_as_it_will_be_is_taken(handler: Any) -> None:
    Server(handler, bind=HERE)


def test_what_cannot_tell_its_signature_is_taken_on_trust() -> None:
    check_signature(dict.get, 2, "(connection, message)")
    check_signature(print, 2, "(connection, message)")


def test_a_handler_is_described_by_where_it_comes_from() -> None:
    assert describe(fits).endswith("test_handler.fits")
    assert describe(Callable2()).endswith("test_handler.Callable2")
    assert describe(Router(lambda message: message)) == "mooring.handler.Router"


# Router ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("register", "complaint"),
    [
        (lambda router: router.on("a")(one_argument), "(connection, message)"),
        (lambda router: router.default(one_argument), "(connection, message)"),
        (lambda router: router.connected(fits), "(connection)"),
        (lambda router: router.lost(one_argument), "(connection, reason)"),
        (lambda router: router.bad_message(fits), "(connection, raw, exc)"),
        (lambda router: router.on("a")(coroutine), "coroutine function"),
        (lambda router: router.on("a")(5), "5 cannot be called"),
    ],
)
def test_a_route_of_the_wrong_signature_is_refused_where_it_is_written(
    register: Callable[[Router], Any], complaint: str
) -> None:
    with pytest.raises(TypeError) as caught:
        register(Router(lambda message: message))
    assert complaint in str(caught.value)


def test_a_key_has_one_handler_and_a_handler_at_least_one_key() -> None:
    router = Router(lambda message: message)
    router.on("login", "hello")(fits)
    with pytest.raises(ValueError, match=r"'hello' has a handler already, .*fits"):
        router.on("new", "hello")
    with pytest.raises(ValueError, match="at least one key"):
        router.on()


def test_decorators_give_the_function_back() -> None:
    router = Router(lambda message: message)
    assert router.on("a")(fits) is fits
    assert router.default(fits) is fits


def json_router() -> Router:
    router = Router(
        lambda message: message["op"],
        decode=json.loads,
        encode=lambda reply: json.dumps(reply).encode(),
    )

    @router.on("add")
    def add(connection: Connection, message: Any) -> Any:
        return {"sum": sum(message["numbers"])}

    @router.on("quiet")
    def quiet(connection: Connection, message: Any) -> None:
        return None

    return router


def served(handler: Any, *messages: bytes, finish: bool = True) -> tuple[list[bytes], dict[CloseReason, int]]:
    """The answers to these messages, and how the connection ended: by the client if it is to finish."""
    with Server(handler, bind=HERE) as server, Client(server.addresses[0]) as client:
        client.send(*messages)
        if finish:
            client.send_eof()
        answers = list(client)
        wait_until(lambda: server.stats().closed)
        return answers, dict(server.stats().closed)


def test_a_router_decodes_once_routes_and_encodes() -> None:
    answers, _ = served(json_router(), b'{"op":"add","numbers":[1,2]}', b'{"op":"quiet"}', b'{"op":"add","numbers":[]}')
    assert [json.loads(answer) for answer in answers] == [{"sum": 3}, {"sum": 0}]


@pytest.mark.parametrize("raw", [b"no json", b'{"no":"op"}', b'{"op":["unhashable"]}'])
def test_bad_message_answers_what_decode_or_key_raise_for_and_the_connection_stays(raw: bytes) -> None:
    router = json_router()
    seen: list[tuple[bytes, str]] = []

    @router.bad_message
    def bad(connection: Connection, raw: bytes, exc: Exception) -> Any:
        seen.append((raw, type(exc).__name__))
        return {"error": "bad"}

    answers, closed = served(router, raw, b'{"op":"add","numbers":[1]}')
    assert [json.loads(answer) for answer in answers] == [{"error": "bad"}, {"sum": 1}]
    assert seen[0][0] == raw
    assert closed == {CloseReason.PEER: 1}


def test_without_bad_message_such_a_message_closes_the_connection() -> None:
    answers, closed = served(json_router(), b"no json", b'{"op":"add","numbers":[1]}', finish=False)
    assert answers == []
    assert closed == {CloseReason.HANDLER: 1}


def test_an_unknown_key_goes_to_the_default_or_closes_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    router = json_router()
    answers, closed = served(router, b'{"op":"fly"}', finish=False)
    assert answers == []
    assert closed == {CloseReason.FRAME: 1}
    assert "no route for the key of this message, and no default" in caplog.text

    @router.default
    def default(connection: Connection, message: Any) -> Any:
        return {"unknown": message["op"]}

    answers, _ = served(router, b'{"op":"fly"}')
    assert json.loads(answers[0]) == {"unknown": "fly"}


def test_connected_greets_and_lost_tells_the_reason_once() -> None:
    router = json_router()
    lost: list[CloseReason] = []

    @router.connected
    def connected(connection: Connection) -> Any:
        connection.session = "greeted"
        return {"hello": connection.id}

    @router.lost
    def lose(connection: Connection, reason: CloseReason) -> None:
        assert connection.session == "greeted"
        lost.append(reason)

    answers, _ = served(router, b'{"op":"quiet"}')
    assert list(json.loads(answers[0])) == ["hello"]
    wait_until(lambda: lost == [CloseReason.PEER])


def test_a_reply_that_encode_cannot_turn_into_bytes_names_the_handler(caplog: pytest.LogCaptureFixture) -> None:
    router = Router(lambda message: message, encode=lambda reply: str(reply))  # type: ignore[arg-type,return-value]
    router.default(fits)
    _, closed = served(router, b"x", finish=False)
    assert closed == {CloseReason.HANDLER: 1}
    assert "returned str; a reply is bytes" in caplog.text


# Handlers that fail ---------------------------------------------------------------------------------------------------


def test_a_class_without_received_says_which(caplog: pytest.LogCaptureFixture) -> None:
    class Forgetful(ConnectionHandler):
        pass

    _, closed = served(Forgetful, b"x", finish=False)
    assert closed == {CloseReason.HANDLER: 1}
    assert "Forgetful.received(message) is missing" in caplog.text


def test_a_handler_that_raises_is_logged_with_its_connection_its_name_and_one_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def careless(connection: Connection, message: bytes) -> bytes:
        raise ZeroDivisionError("on purpose")

    served(careless, b"x", finish=False)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "<Connection " in record.getMessage()
    assert "tcp://127.0.0.1:" in record.getMessage()
    assert "careless raised; the connection is closed" in record.getMessage()
    assert caplog.text.count("Traceback") == 1


@pytest.mark.parametrize("kind", ["raises", "returns text", "refuses"])
def test_a_hundred_failures_write_few_lines(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def careless(connection: Connection, message: bytes) -> Any:
        if kind == "raises":
            raise ZeroDivisionError("on purpose")
        if kind == "refuses":
            raise FrameError("not a reading")
        return "text"

    with Server(careless, bind=HERE) as server:
        for _ in range(100):
            with Client(server.addresses[0]) as client, pytest.raises((ConnectionClosed, ConnectionResetError)):
                client.send(b"x")
                client.recv()
    lines = [record for record in caplog.records if "careless" in record.getMessage()]
    assert 1 <= len(lines) <= 10
    assert "further lines are left out" in caplog.text
