"""API keys and rate limits."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from service.http.auth import load_keys
from service.settings import Settings

KEY = "an example key"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


def test_with_keys_an_endpoint_asks_for_one(serve: Callable[..., Any]) -> None:
    url = serve(api_keys=(f"ann:{DIGEST}",)).url
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-API-Key": DIGEST}, {"Authorization": "Basic x"}):
        refused = requests.get(f"{url}/v1/models", headers=headers, timeout=300)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert refused.json()["error"]["code"] == "unauthorized"
    for headers in ({"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}):
        assert requests.get(f"{url}/v1/models", headers=headers, timeout=300).status_code == 200
    for path in ("/metrics", "/docs.json", "/"):
        assert requests.get(f"{url}{path}", timeout=300).status_code == 200


def test_keys_come_from_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# two of them\n\nann:{DIGEST}\n{'0' * 64}\n")
    keys = load_keys(Settings(api_keys_file=file))
    assert [(key.name, key.digest.hex()) for key in keys] == [("ann", DIGEST), ("key-2", "0" * 64)]


@pytest.mark.parametrize("content", ["", "# nobody\n", f"{KEY}\n", "ann:abc\n"])
def test_a_file_without_digests_stops_the_start(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys"
    file.write_text(content)
    with pytest.raises(ValueError, match="key"):
        load_keys(Settings(api_keys_file=file))


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, Any]]]:
    """The fields of every request's log line."""
    caplog.set_level(logging.INFO, "gan")
    found: list[dict[str, Any]] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.fields)  # type: ignore[attr-defined,method-assign]
    logging.getLogger("gan.access").addHandler(handler)
    yield found
    logging.getLogger("gan.access").removeHandler(handler)


def test_past_the_rate_the_answer_is_429_with_retry_after(serve: Callable[..., Any]) -> None:
    url = serve(rate_per_minute=2).url
    codes = [requests.get(f"{url}/v1/models", timeout=300).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    refused = requests.get(f"{url}/v1/models", timeout=300)
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.json()["error"]["code"] == "rate_limited"
    assert requests.get(f"{url}/docs.json", timeout=300).status_code == 200


def test_the_logs_name_the_caller_who_is_limited(
    serve: Callable[..., Any], lines: list[dict[str, Any]], wait_until: Callable[..., None]
) -> None:
    entry = f"alice:{hashlib.sha256(b'open sesame').hexdigest()}"
    url = serve(rate_per_minute=1, api_keys=(entry,)).url
    for key in ("open sesame", "open sesame", "guessed"):
        requests.get(f"{url}/v1/models", headers={"X-API-Key": key}, timeout=300)
    wait_until(
        lambda: (
            sorted((line["status"], line["caller"]) for line in lines)
            == [(200, "alice"), (401, "127.0.0.1"), (429, "alice")]
        ),
        "three lines",
    )
