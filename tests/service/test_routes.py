"""Addresses and methods that no endpoint answers: errors in the one shape, whatever the path."""

from typing import Any

import pytest
import requests


@pytest.mark.parametrize(
    "path", ["/v1/sample/", "/v1", "/v1/nothing", "/V1/sample", "//v1/sample", "/v1/jobs/x/y", "/%00"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_what_is_not_there(local: Any, server: str, method: str, path: str) -> None:
    for url in (local.url, server):
        answer = requests.request(method, url + path, timeout=300, allow_redirects=False)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/sample", {"POST"}),
        ("PUT", "/v1/models", {"GET"}),
        ("PATCH", "/v1/jobs/" + "0" * 32, {"GET", "DELETE"}),
        ("POST", "/v1/references/x", {"GET", "DELETE"}),
        ("DELETE", "/v1/references", {"GET", "POST"}),
        ("OPTIONS", "/v1/score", {"POST"}),
    ],
)
def test_other_methods_are_told(local: Any, server: str, method: str, path: str, allowed: set[str]) -> None:
    for url in (local.url, server):
        answer = requests.request(method, url + path, timeout=300)
        assert answer.status_code == 405
        assert set(answer.headers["Allow"].split(", ")) == allowed
        error = answer.json()["error"]
        assert (error["code"], all(one in error["message"] for one in allowed)) == ("method_not_allowed", True)


def test_head_is_get_without_the_body(local: Any) -> None:
    answer = requests.head(f"{local.url}/v1/models", timeout=300)
    assert (answer.status_code, answer.content) == (200, b"")
