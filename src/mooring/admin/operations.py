"""What an operation of the API is: declared once, and from that served, checked and described."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from .audit import Audit
from .auth import Role
from .guard import MOST_BODY, address_of
from .records import Problem
from .refusal import Refused

logger = logging.getLogger("mooring.admin")

JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"


@dataclass(frozen=True)
class Parameter:
    """Something in a path or a query.

    Args:
        name: as it is written there.
        kind: its type for msgspec, with its bounds.
        what: for people.
        required: whether it must be there; those of a path always are.
        default: taken if it is not.
    """

    name: str
    kind: Any
    what: str
    required: bool = False
    default: Any = None


SERVER: Final = Parameter("server", Annotated[str, Meta(min_length=1, max_length=64)], "the server's id", True)
CONNECTION: Final = Parameter("id", Annotated[int, Meta(ge=0, le=2**53)], "the connection's number", True)
DEVICE: Final = Parameter("device", Annotated[str, Meta(min_length=1, max_length=64)], "the device's name", True)


@dataclass(frozen=True)
class Operation:
    """One operation.

    Args:
        name: for programs and the audit log.
        method, path: path from /api/v1 on, with {names} in braces.
        summary: one line for people.
        result: type of the answer.
        call: gets the request's values by name (body included) and returns the answer, or a stream of events.
        role: who may do it.
        body: type of what is posted; None: nothing is.
        in_path, in_query: see Parameter.
        problems: statuses that it may answer beside the common ones.
        stream: the answer is a stream of events.
        wants_request: ``call`` gets the request itself, too, as ``request``.
    """

    name: str
    method: str
    path: str
    summary: str
    result: Any
    call: Callable[..., Awaitable[Any]]
    role: Role = Role.VIEWER
    body: type[msgspec.Struct] | None = None
    in_path: tuple[Parameter, ...] = ()
    in_query: tuple[Parameter, ...] = ()
    problems: tuple[int, ...] = ()
    stream: bool = False
    wants_request: bool = False

    @property
    def is_control(self) -> bool:
        """Whether it changes something, and so is written to the audit log."""
        return self.role is Role.OPERATOR and self.method == "POST"


def endpoint(operation: Operation, audit: Audit) -> Callable[[Request], Awaitable[Response]]:
    """The operation as an endpoint of Starlette."""

    async def answer(request: Request) -> Response:
        who = request.state.who
        values: dict[str, Any] = {}
        try:
            _check_role(operation, request.state.role)
            values = {
                **_values(operation.in_path, request.path_params, "path"),
                **_query(operation, request),
                **await _body(operation, request),
            }
            if operation.wants_request:
                values["request"] = request
            result = await operation.call(**values)
        except Refused as exc:
            if operation.is_control and request.state.role is Role.NOBODY:
                audit.note_stranger(address_of(request.scope), operation.name, f"refused: {exc}")
            elif operation.is_control:
                audit.note(who, operation.name, _told(values), f"refused: {exc}")
            raise
        if operation.is_control:
            audit.note(who, operation.name, _told(values), getattr(result, "detail", "done"))
        if isinstance(result, Response):
            return result
        if operation.stream:
            return _stream(result)
        return Response(msgspec.json.encode(result), media_type=JSON)

    return answer


def _check_role(operation: Operation, role: Role) -> None:
    if role >= operation.role:
        return
    if role is Role.NOBODY:
        detail = "log in with the token from the server's banner, or send it as `Authorization: Bearer`"
        raise Refused(401, "not_logged_in", detail, {"www-authenticate": "Bearer"})
    raise Refused(403, "may_only_look", "this token may look, but change nothing")


def _values(parameters: tuple[Parameter, ...], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    found = {}
    for parameter in parameters:
        if parameter.name not in given:
            if parameter.required:
                raise Refused(400, "bad_request", f"{where}: {parameter.name} is missing")
            found[parameter.name] = parameter.default
            continue
        try:
            found[parameter.name] = msgspec.convert(given[parameter.name], parameter.kind, strict=False)
        except (msgspec.ValidationError, OverflowError) as exc:
            raise Refused(400, "bad_request", f"{where}: {parameter.name}: {exc}") from exc
    return found


def _query(operation: Operation, request: Request) -> dict[str, Any]:
    given = request.query_params.multi_items()
    known = [parameter.name for parameter in operation.in_query]
    for name, _ in given:
        if name not in known:
            may = f"it takes {', '.join(known)}" if known else "it takes none"
            raise Refused(400, "bad_request", f"query: {name[:60]!r} is unknown; {may}")
    if len(dict(given)) < len(given):
        raise Refused(400, "bad_request", "query: a parameter is there twice")
    return _values(operation.in_query, dict(given), "query")


async def _body(operation: Operation, request: Request) -> dict[str, Any]:
    if operation.body is None:
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise Refused(415, "not_json", f"send JSON with `Content-Type: {JSON}`")
    try:
        raw = await request.body()
    except ClientDisconnect as exc:
        raise Refused(400, "bad_request", "the request ended early") from exc
    try:
        return {"body": msgspec.json.decode(raw, type=operation.body)}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise Refused(422, "bad_body", f"body: {exc or 'nested too deep'}") from exc


def _told(values: dict[str, Any]) -> dict[str, Any]:
    """The arguments as the audit log shows them: flat, short, without the request itself."""
    told: dict[str, Any] = {}
    for name, value in values.items():
        if name == "body":
            told |= {key: text for key, text in msgspec.structs.asdict(value).items() if text is not None}
        elif name != "request":
            told[name] = value
    return {name: _short(value) for name, value in told.items()}


def _short(value: Any) -> Any:
    if isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 200 else text[:200] + "…"


def _stream(events: AsyncIterator[bytes]) -> StreamingResponse:
    return StreamingResponse(events, media_type=EVENT_STREAM, headers={"cache-control": "no-store"})


def describe(operations: list[Operation], version: str) -> dict[str, Any]:
    """The OpenAPI document."""
    records: list[Any] = [Problem]
    for operation in operations:
        records += [kind for kind in (operation.result, operation.body) if kind not in (None, bytes)]
    schemas, components = msgspec.json.schema_components(records, ref_template="#/components/schemas/{name}")
    by_record = dict(zip(map(repr, records), schemas, strict=True))
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(f"/api/v1{operation.path}", {})[operation.method.lower()] = _describe(
            operation, by_record, by_record[repr(Problem)]
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Mooring admin API", "version": version, "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"bearer": []}],
    }


_ABOUT: Final = (
    "Everything that the dashboard shows and does. The token is in the server's banner; the commands of `mooring` find "
    f"it by themselves. Seconds are floats, sizes are bytes, requests have at most {MOST_BODY // 1024} KiB."
)

_MEANINGS: Final = {
    400: "The request is wrong.",
    401: "Nobody is logged in.",
    403: "It may not be done by this token, or came from another site.",
    404: "There is no such thing.",
    409: "Not possible in the present state.",
    413: "The request is too large.",
    415: "The request is not JSON.",
    422: "A value is wrong.",
    429: "Too many requests, or too many wrong tokens.",
    503: "Not possible now; try again.",
}


def _describe(operation: Operation, schemas: dict[str, Any], problem: dict[str, Any]) -> dict[str, Any]:
    statuses = {400, 429, *operation.problems}
    if operation.role is not Role.NOBODY:
        statuses |= {401}
    if operation.role is Role.OPERATOR:
        statuses |= {403}
    if operation.body is not None:
        statuses |= {413, 415, 422}
    answer: dict[str, Any] = {"description": "Done."}
    if operation.stream:
        answer["content"] = {EVENT_STREAM: {"schema": {"type": "string"}}}
    elif operation.result is not None:
        answer["content"] = {JSON: {"schema": schemas[repr(operation.result)]}}
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {
            "200": answer,
            **{
                str(status): {"description": _MEANINGS[status], "content": {JSON: {"schema": problem}}}
                for status in sorted(statuses)
            },
        },
    }
    parameters = [_describe_parameter(one, "path") for one in operation.in_path]
    parameters += [_describe_parameter(one, "query") for one in operation.in_query]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": schemas[repr(operation.body)]}},
        }
    if operation.role is Role.NOBODY:
        described["security"] = []
    return described


def _describe_parameter(parameter: Parameter, where: str) -> dict[str, Any]:
    schema = msgspec.json.schema(parameter.kind)
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {
        "name": parameter.name,
        "in": where,
        "required": where == "path" or parameter.required,
        "description": parameter.what,
        "schema": schema,
    }
