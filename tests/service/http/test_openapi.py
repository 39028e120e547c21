"""The description is true: schemathesis asks everything it allows, and finds nothing undescribed."""

import os
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from service.endpoints.table import OPERATIONS
from service.http.openapi import document
from service.http.operation import Operation

# These answer 503 where it is described: no classifier for IS, another set being scored, too many jobs.
SCORES = ("score", "reference", "submit_score", "submit_reference")
DOCUMENT = document(OPERATIONS)


def test_there_is_one_description(server: str, local: Any) -> None:
    ours = requests.get(f"{server}/docs.json", timeout=300).json()
    assert ours["openapi"] == "3.1.0"
    assert ours == requests.get(f"{server}/openapi.json", timeout=300).json()
    assert ours == requests.get(f"{local.url}/docs.json", timeout=300).json()
    assert {"/v1/sample", "/v1/translate", "/v1/models", "/readyz", "/metrics"} <= set(ours["paths"])


def test_names_are_unique_and_every_reference_leads_somewhere() -> None:
    names = [one["operationId"] for path in DOCUMENT["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))

    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            found = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return found.union(*(references(value) for value in node.values()))
        return set().union(*(references(value) for value in node)) if isinstance(node, list) else set()

    schemas = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert references(DOCUMENT) <= schemas


def test_a_body_is_required_where_a_file_or_a_field_has_to_come() -> None:
    posts = [path["post"] for path in DOCUMENT["paths"].values() if "post" in path]
    needed = {post["operationId"] for post in posts if post["requestBody"]["required"]}
    assert {"encode", "translate", "inspect", "direction", "edits"} <= needed
    assert needed.isdisjoint({"sample", "interpolate", "score", "generations"})


def defaults(operation: Operation) -> dict[str, Any]:
    """What generated clients send of each field that they are not told."""
    assert operation.body is not None
    fields = DOCUMENT["components"]["schemas"][operation.body.__name__]["properties"]
    return {name: field["default"] for name, field in fields.items() if "default" in field}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param(one.path, {**told, **body}, id=f"{one.name}-{name}{'-defaults' if told else ''}")
        for one in OPERATIONS
        for name, body in one.examples.items()
        if not any(field.required for field in one.files)
        if one.name not in SCORES
        for told in ({}, defaults(one))
    ],
)
def test_every_example_works(local: Any, path: str, body: dict[str, Any]) -> None:
    answer = requests.post(f"{local.url}{path}", json=body, timeout=300)
    assert answer.ok, answer.text[:300]


SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
ASKED = [
    result.ok()
    for result in SCHEMA.get_all_operations()
    if result.ok().definition.raw["operationId"] not in ("livez", "readyz", "metrics")
]


def nothing_but_503(_: object, response: schemathesis.Response, __: object) -> None:
    assert response.status_code < 500 or response.status_code == 503


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("operation", ASKED, ids=lambda one: one.definition.raw["operationId"])
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_schemathesis_finds_nothing(local: Any, scoring: Any, operation: Any, mode: str) -> None:
    """SCHEMATHESIS_EXAMPLES=120 is ten times as thorough; 503 may be the queue of jobs, which is full by then."""
    generation = schemathesis.GenerationMode(mode)
    scores = operation.definition.raw["operationId"] in SCORES
    may_be_full = scores or operation.definition.raw["operationId"].startswith("submit_")
    server_error = nothing_but_503 if may_be_full else not_a_server_error
    checks = [server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    if mode == "negative" and not operation.definition.raw.get("requestBody", {}).get("content", {}).get(
        "multipart/form-data"
    ):
        checks.append(negative_data_rejection)

    @settings(
        max_examples=int(os.environ.get("SCHEMATHESIS_EXAMPLES", "12")),
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=generation))
    def ask(case: Any) -> None:
        case.call_and_validate(base_url=scoring.url if scores else local.url, checks=checks, timeout=300)

    try:
        ask()
    except Unsatisfiable:
        pass  # whatever is sent here is right, so there is nothing to refuse
    except BaseExceptionGroup as error:  # its own traceback runs through generated code, and is no help
        pytest.fail("\n".join(str(one) for one in error.exceptions)[:3000], pytrace=False)
