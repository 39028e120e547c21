"""From requests to calls: fields that are left out, in the address, or of no endpoint."""

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from service.endpoints.table import OPERATIONS

OPTIONAL = [
    (one.path, name)
    for one in OPERATIONS
    if one.body is not None and one.method == "POST" and one.takes_json
    for name, field in ((info.alias or name, info) for name, info in one.body.model_fields.items())
    if not field.is_required()
]


def status_of(address: str, body: object) -> int:
    """Of an answer; a queue that is full of jobs, which yield to everything else, is asked again."""
    end = time.monotonic() + 300
    while (status := requests.post(address, json=body, timeout=300).status_code) == 503 and time.monotonic() < end:
        time.sleep(0.2)
    return status


@pytest.mark.parametrize(("path", "field"), OPTIONAL)
def test_null_is_as_good_as_left_out(scoring: Any, path: str, field: str) -> None:
    bases = {
        "interpolate": {"model": "tiny", "seeds": [1, 2], "steps": 2},
        "score": {"a_n": 2, "a_model": "tiny", "b_n": 2, "b_model": "tiny"},
    }
    base = bases.get(path.rpartition("/")[2], {"model": "tiny"})
    without = {name: value for name, value in base.items() if name != field}
    assert status_of(scoring.url + path, {**base, field: None}) == status_of(scoring.url + path, without)


@pytest.mark.parametrize("field", ["model", "direction", "output", "format", "quality", "cycle"])
def test_an_empty_field_of_a_form_is_as_good_as_left_out(local: Any, picture: Callable[..., bytes], field: str) -> None:
    files = {"images": ("a.png", picture(8, 8))}
    answer = requests.post(f"{local.url}/v1/translate", data={field: ""}, files=files, timeout=300)
    assert answer.status_code == 200, answer.text


def test_an_empty_field_that_is_needed_is_missing(scoring: Any, picture: Callable[..., bytes]) -> None:
    files = {"images": ("a.png", picture(8, 8))}
    answer = requests.post(f"{scoring.url}/v1/references", data={"name": ""}, files=files, timeout=300)
    assert (answer.status_code, answer.json()["error"]["where"]) == (400, "name")


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.name)
def test_a_field_in_the_address_is_refused(local: Any, one: Any) -> None:
    path = one.path.replace("{name}", "x").replace("{id}", "0" * 32)
    answer = requests.request(one.method, f"{local.url}{path}?seed=7", timeout=300)
    assert (answer.status_code, answer.json()["error"]["where"]) == (400, "seed")


@pytest.mark.parametrize("number", ["1" * 5000, "-" + "1" * 5000, "1" * 5000 + ".0", "1e99999"])
@pytest.mark.parametrize("field", ["n", "seed", "latents", "class", "truncation", "quality"])
def test_a_number_of_5000_digits(local: Any, field: str, number: str) -> None:
    headers = {"content-type": "application/json"}
    for value in (number, f"[{number}]", f"[[{number}]]"):
        body = f'{{"model": "tiny", "{field}": {value}}}'
        answer = requests.post(f"{local.url}/v1/sample", data=body, headers=headers, timeout=300)
        assert answer.status_code == 400
        assert len(answer.content) < 1000


def test_a_number_of_5000_digits_in_a_form(local: Any, picture: Callable[..., bytes]) -> None:
    files = {"images": ("a.png", picture(8, 8))}
    answer = requests.post(f"{local.url}/v1/translate", data={"quality": "9" * 5000}, files=files, timeout=300)
    assert answer.status_code == 400


def test_half_a_character_is_no_name(local: Any) -> None:
    for body in ('{"model": "\\ud800"}', '{"\\ud800": 1}', '{"class": "\\udfff"}', '{"output": "\\ud800"}'):
        headers = {"content-type": "application/json"}
        answer = requests.post(f"{local.url}/v1/sample", data=body, headers=headers, timeout=300)
        assert answer.status_code in (400, 404), body
        assert answer.json()["error"]["message"]


def test_whole_numbers_may_be_written_with_a_point(local: Any) -> None:
    answer = requests.post(
        f"{local.url}/v1/sample",
        data='{"model": "tiny", "n": 2.0, "seed": 7.0}',
        headers={"content-type": "application/json"},
        timeout=300,
    )
    assert answer.headers["X-Seeds"] == "7,8"


def test_accept_may_come_in_several_lines(local: Any) -> None:
    host, port = local.url.removeprefix("http://").split(":")
    body = b'{"model": "tiny", "seed": 7}'
    with socket.create_connection((host, int(port)), timeout=300) as connection:
        connection.sendall(
            b"POST /v1/sample HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
            b"Accept: text/html\r\nAccept: image/webp\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"content-type: image/webp" in answer.lower()
