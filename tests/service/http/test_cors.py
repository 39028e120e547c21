"""Pages of other origins, in a browser and header by header."""

import functools
import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from pydantic import ValidationError

from service.endpoints.table import OPERATIONS
from service.settings import Settings

ORIGIN = "https://app.example.com"
KEY = "an example key"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


def ask(url: str, method: str = "GET", path: str = "/v1/models", **headers: str) -> requests.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.request(method, f"{url}{path}", headers={"Origin": ORIGIN, **sent}, timeout=300)


def test_without_the_setting_no_answer_says_anything_of_origins(local: Any) -> None:
    for answer in (ask(local.url), ask(local.url, "OPTIONS", Access_Control_Request_Method="GET")):
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_refusals_carry_it_and_a_preflight_asks_for_no_key(serve: Callable[..., Any]) -> None:
    url = serve(cors_origins=(ORIGIN,), api_keys=(DIGEST,), rate_per_minute=1).url
    preflight = ask(
        url,
        "OPTIONS",
        "/v1/jobs/sample",
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization, content-type, idempotency-key, last-event-id, x-request-id",
    )
    assert (preflight.status_code, preflight.headers["Access-Control-Allow-Origin"]) == (200, ORIGIN)
    bearer = f"Bearer {KEY}"
    answers = {
        401: ask(url),
        200: ask(url, Authorization=bearer),
        429: ask(url, Authorization=bearer),
        404: ask(url, path="/nothing"),
        415: ask(url, "POST", "/nothing", Content_Type="application/vnd.bentoml+pickle"),
    }
    for status, answer in answers.items():
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, ORIGIN)
        assert "Origin" in answer.headers["Vary"]
    exposed = {name.strip().lower() for name in answers[200].headers["Access-Control-Expose-Headers"].split(",")}
    assert {name.lower() for operation in OPERATIONS for name in operation.headers} <= exposed
    assert {"retry-after", "x-request-id"} <= exposed
    other = ask(url, Origin="https://evil.example.com", Authorization=bearer)
    assert "Access-Control-Allow-Origin" not in other.headers
    denied = ask(url, "OPTIONS", Origin="https://evil.example.com", Access_Control_Request_Method="GET")
    assert (denied.status_code, "Access-Control-Allow-Origin" in denied.headers) == (400, False)


@pytest.mark.parametrize("origin", ["app.example.com", "https://app.example.com/", "https://a/b", "null", "*.a.com"])
def test_what_is_no_origin_stops_the_start(origin: str) -> None:
    with pytest.raises(ValidationError, match="is no origin"):
        Settings(cors_origins=(origin,))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[str]:
    """An origin with an empty page."""
    (tmp_path / "index.html").write_text("<!doctype html><link rel=icon href=data:,><title>Another</title>")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


SCRIPT = """
const [url, key, done] = arguments;
const told = {};
const headers = {"X-API-Key": key, "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID()};
const ask = (path, options = {}) => fetch(url + path, {headers, ...options});
(async () => {
    const drawn = await ask("/v1/sample", {method: "POST", body: '{"model": "tiny", "seed": 7}'});
    told.seeds = drawn.headers.get("X-Seeds");
    told.size = (await drawn.blob()).size;
    const refused = await ask("/v1/models", {headers: {"X-API-Key": "wrong"}});
    told.refused = (await refused.json()).error.code;
    const job = await (await ask("/v1/jobs/sample", {method: "POST", body: '{"model": "tiny", "n": 2}'})).json();
    told.end = (await (await ask(`/v1/jobs/${job.id}/events`)).text()).includes("event: end");
    told.removed = (await ask(`/v1/jobs/${job.id}`, {method: "DELETE"})).status;
})().catch((error) => { told.error = String(error); }).finally(() => done(told));
"""


def test_a_page_of_another_origin_reads_answers_errors_and_events(
    driver: Any, serve: Callable[..., Any], elsewhere: str
) -> None:
    driver.get(elsewhere)
    driver.set_script_timeout(300)
    allowed = serve(cors_origins=(elsewhere,), api_keys=(DIGEST,)).url
    told = driver.execute_async_script(SCRIPT, allowed, KEY)
    size = told.pop("size", 0)
    assert told == {"seeds": "7", "refused": "unauthorized", "end": True, "removed": 200}
    assert size > 100
    shut = driver.execute_async_script(SCRIPT, serve(api_keys=(DIGEST,)).url, KEY)
    assert shut == {"error": "TypeError: Failed to fetch"}
    driver.get_log("browser")  # which has the browser's own complaint of that
