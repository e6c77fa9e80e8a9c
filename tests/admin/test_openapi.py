"""The OpenAPI document is true: whatever it allows is answered as it says, and nothing of it fails the server."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from mooring import Server
from mooring.admin.service import AdminSide

from .conftest import TOKEN, Asker, MakeAdmin

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own dependencies
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]


def test_every_operation_has_a_name_a_summary_and_its_errors(asker: Asker) -> None:
    document = asker.get("/api/v1/openapi.json").json
    assert document["openapi"] == "3.1.0"
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert len({one["operationId"] for one in operations}) == len(operations) > 20
    for one in operations:
        assert one["summary"].endswith((".", ")."))
        assert "400" in one["responses"]


@pytest.fixture
def tame(server: Server, make_admin: MakeAdmin) -> AdminSide:
    """An admin side whose drain is none, so that it can be asked for everything."""
    return make_admin(server, drain=lambda how: None)


@pytest.mark.filterwarnings("ignore")
def test_whatever_the_document_allows_is_answered_as_it_says(tame: AdminSide) -> None:
    url = f"http://127.0.0.1:{tame.port}"
    document = Asker(tame.port).get("/api/v1/openapi.json").json
    for path in ("/api/v1/events", "/api/v1/trace"):
        del document["paths"][path]  # they have no end
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    checked = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        run(operation, lambda case: ask(case))
        checked += 1
    assert checked > 20


def ask(case: Any) -> None:
    case.call_and_validate(checks=CHECKS, headers={"Authorization": f"Bearer {TOKEN}"})


def run(operation: Any, test: Callable[[Any], None]) -> None:
    """A few cases of one operation."""
    from hypothesis import given

    cases = given(case=operation.as_strategy())(lambda case: test(case))
    settings(
        max_examples=8,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(cases)()


def test_the_document_is_small_and_names_no_secret(asker: Asker) -> None:
    body = asker.get("/api/v1/openapi.json").body
    assert len(body) < 128 * 1024
    assert TOKEN not in json.dumps(body.decode())
