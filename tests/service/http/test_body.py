"""What a body may be: JSON in UTF-8 and of a bounded size, not coded, and there where it was announced."""

import errno
from tempfile import SpooledTemporaryFile
from typing import Any

import pytest
import requests


def refused(answer: requests.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text[:300]
    return answer.json()["error"]


SEED = b'{"model": "tiny", "seed": 7}'


@pytest.mark.parametrize(
    "media", ["application/json", "application/json; charset=utf-8", 'APPLICATION/JSON;CharSet="UTF-8"']
)
def test_json_is_utf_8_with_or_without_a_byte_order_mark(local: Any, media: str) -> None:
    for body in (SEED, b"\xef\xbb\xbf" + SEED):
        answer = requests.post(f"{local.url}/v1/sample", data=body, headers={"Content-Type": media}, timeout=300)
        assert answer.headers["X-Seeds"] == "7"


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_json_in_another_unicode_is_told_so(local: Any, coding: str) -> None:
    body = SEED.decode().encode(coding)
    for media in ("application/json", f"application/json; charset={coding}"):
        answer = requests.post(f"{local.url}/v1/sample", data=body, headers={"Content-Type": media}, timeout=300)
        assert "UTF-8" in refused(answer, 415)["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"{" + b",".join(b'"a%d": 0' % index for index in range(60_000)) + b"}",
        b'{"latents": [' + b"[]," * 32_768 + b"[]]}",
        b'{"latents": [[' + b"0," * 400_000 + b"0]]}",
    ],
    ids=["names", "lists", "values"],
)
def test_json_that_would_hold_everybody_up_is_refused_unread(local: Any, body: bytes) -> None:
    answer = requests.post(
        f"{local.url}/v1/sample", data=body, headers={"Content-Type": "application/json"}, timeout=300
    )
    assert "too many" in refused(answer, 400)["message"]


def test_a_body_that_was_announced_and_is_empty_is_not_all_defaults(local: Any, server: str) -> None:
    for url in (local.url, server):
        chunked = requests.post(
            f"{url}/v1/sample", data=iter([]), headers={"Content-Type": "application/json"}, timeout=300
        )
        assert "announced" in refused(chunked, 400)["message"]


def test_no_body_at_all_is_all_defaults(local: Any) -> None:
    assert requests.post(f"{local.url}/v1/sample", timeout=300).headers["Content-Type"] == "image/png"
    refused(requests.post(f"{local.url}/v1/interpolate", timeout=300), 400)  # which needs something to go between
    refused(requests.post(f"{local.url}/v1/encode", timeout=300), 415)  # which needs a file


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "identity, gzip"])
def test_a_coded_body_is_told_what_is_read(local: Any, server: str, coding: str) -> None:
    for url in (local.url, server):
        for path in ("/v1/sample", "/v1/inspect", "/v1/jobs/sample"):
            answer = requests.post(f"{url}{path}", data=SEED, headers={"Content-Encoding": coding}, timeout=300)
            assert refused(answer, 415)["where"] == "content-encoding"
            assert answer.headers["Accept-Encoding"] == "identity"
    assert requests.post(f"{local.url}/v1/sample", json={}, headers={"Content-Encoding": "identity"}, timeout=300).ok


@pytest.mark.parametrize("nothing", [("", b""), (None, "")], ids=["a page's input", "text"])
def test_a_file_that_was_not_chosen_is_left_out(local: Any, nothing: tuple[str | None, bytes | str]) -> None:
    fields = {"model": "tiny", "seeds": "1,2", "steps": "2"}
    form = [("images", nothing), *((name, (None, value)) for name, value in fields.items())]
    assert requests.post(f"{local.url}/v1/interpolate", files=form, timeout=300).status_code == 200
    answer = requests.post(f"{local.url}/v1/inspect", files=[("image", nothing)], timeout=300)
    assert "A file is missing" in refused(answer, 400)["message"]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC])
def test_no_room_for_an_upload_is_said_and_no_fault(local: Any, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(self: SpooledTemporaryFile[bytes]) -> None:
        raise OSError(number, "no room")

    monkeypatch.setattr(SpooledTemporaryFile, "rollover", full)
    answer = requests.post(f"{local.url}/v1/inspect", files={"image": bytes(2 << 20)}, timeout=300)
    assert "no room" in refused(answer, 503)["message"]
    assert int(answer.headers["Retry-After"]) >= 1
