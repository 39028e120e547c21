"""Metrics, logs and traces."""

import asyncio
import concurrent.futures
import contextlib
import http.server
import io
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.logs import JsonLines, Outlet, set_up_logging
from service.routes import standalone
from service.runtime import Runtime
from service.settings import Settings
from service.telemetry import Telemetry


def test_the_real_service_shows_its_own_metrics(server: str, wait_until: Callable[..., None]) -> None:
    assert requests.post(f"{server}/v1/sample", json={"model": "tiny", "n": 3}, timeout=300).ok
    requests.get(f"{server}/any/thing/at/all", timeout=300)

    def metrics() -> tuple[str, dict[str, str]]:
        text = requests.get(f"{server}/metrics", timeout=300).text
        return text, dict(re.findall(r"^(gan_\S+) (\S+)$", text, re.MULTILINE))

    # a batch is counted once its images are on their way
    wait_until(lambda: float(metrics()[1].get('gan_batch_images_sum{model="tiny"}', 0)) >= 3, "all three in batches")
    text, values = metrics()
    assert float(values['gan_requests_total{endpoint="sample",status="200"}']) >= 1
    assert float(values['gan_images_total{endpoint="sample",model="tiny"}']) >= 3
    for name in ("queue", "forward"):
        assert float(values[f'gan_{name}_seconds_count{{model="tiny"}}']) >= 1
    assert sum(line.startswith("gan_model_info{") for line in values) == 3
    assert "/any/thing" not in text  # a label for each path would let callers fill the memory
    assert "bentoml_" not in text
    assert float(re.search(r"^process_open_fds (\S+)$", text, re.MULTILINE)[1]) > 0


def test_a_request_id_is_echoed_or_made(local: Any) -> None:
    def asked(value: str) -> str:
        return requests.get(f"{local.url}/v1/models", headers={"X-Request-ID": value}, timeout=300).headers[
            "X-Request-ID"
        ]

    assert asked("order-66.b_1") == "order-66.b_1"
    for odd in ("a b", "x" * 200, '"}{'):
        assert re.fullmatch(r"[0-9a-f]{32}", asked(odd))


def test_every_request_is_one_json_line(
    serve: Callable[..., Any],
    wait_until: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = serve().url
    log = logging.getLogger("gan")
    for name in ("handlers", "propagate"):
        monkeypatch.setattr(log, name, getattr(log, name))  # as they were when the test is over
    set_up_logging(as_json=True)
    requests.post(f"{url}/v1/sample", json={"model": "tiny"}, headers={"X-Request-ID": "mine"}, timeout=300)
    requests.post(f"{url}/v1/sample", json={"n": 0}, headers={"X-Request-ID": "wrong"}, timeout=300)
    lines: dict[str, Any] = {}

    def both() -> bool:
        read = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        lines.update({line["request_id"]: line for line in read if line["event"] == "request"})
        return {"mine", "wrong"} <= set(lines)

    wait_until(both, "two lines")
    mine = lines["mine"]
    assert (mine["method"], mine["path"], mine["endpoint"], mine["status"]) == ("POST", "/v1/sample", "sample", 200)
    assert mine["ms"] > 0
    assert lines["wrong"]["status"] == 400


@contextlib.contextmanager
def outlet(stdout: Any, monkeypatch: pytest.MonkeyPatch, most: int = 1 << 20) -> Iterator[logging.Logger]:
    monkeypatch.setattr(sys, "stdout", stdout)
    log = logging.getLogger("outlet")
    one = Outlet(most, 0.001)
    one.setFormatter(JsonLines())
    log.handlers, log.propagate = [one], False
    yield log
    one.close()


def test_a_broken_standard_output_costs_lines_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    class Broken(io.StringIO):
        flushes = 0

        def flush(self) -> None:
            self.flushes += 1
            raise BrokenPipeError

    broken = Broken()
    with outlet(broken, monkeypatch) as log:
        for count in range(1, 4):
            log.warning("nobody reads this")
            wait_until(lambda count=count: broken.flushes >= count, "an attempt")


def test_whoever_logs_does_not_wait_for_whoever_reads(
    monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    """Standard output is a full pipe: lines are kept up to a limit, then lost, and that is said."""
    read, write = os.pipe()
    with open(read, "rb") as reader, concurrent.futures.ThreadPoolExecutor(1) as pool:
        with open(write, "w") as writer, outlet(writer, monkeypatch, most=300_000) as log:
            for index in range(2000):  # more than the pipe takes, and more than is kept
                log.warning("x" * 1000, extra={"fields": {"index": index}})
            reading = pool.submit(reader.read)
        lines = [json.loads(line) for line in reading.result().decode().splitlines()]
    kept = [line["index"] for line in lines if "index" in line]
    assert kept == sorted(kept)
    assert len(kept) < 1000
    assert len(kept) + sum(line["lines"] for line in lines if "lines" in line) == 2000


class Collector(http.server.BaseHTTPRequestHandler):
    """What an OpenTelemetry collector does: takes OTLP over HTTP."""

    received: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        self.received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


def test_spans_reach_the_collector_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert Telemetry().start_request("GET /nowhere", {}) is None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        telemetry = Telemetry()
        span = telemetry.start_request("GET /v1/models", {})
        assert span is not None
        span.end()
        telemetry.close()  # sends what waits
        collector.shutdown()
    ((path, body),) = Collector.received
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    assert path == "/v1/traces"
    assert [span.name for scope in resource.scope_spans for span in scope.spans] == ["GET /v1/models"]
    assert "gan-service" in [one.value.string_value for one in resource.resource.attributes]


def test_a_trace_runs_through_queue_batch_and_forward(checkpoints: Path, tmp_path: Path) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    runtime = Runtime(Settings(models=(checkpoints,), store=tmp_path, reload_s=0), tracer_provider=provider)
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    async def test() -> None:
        await runtime.registry.refresh()
        transport = httpx.ASGITransport(standalone(runtime))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            answer = await client.post("/v1/sample", json={"model": "tiny"}, headers={"traceparent": caller})
            assert answer.status_code == 200
        await runtime.stop()

    asyncio.run(test())
    by_name = {span.name: span for span in spans.get_finished_spans()}
    request, queue, batch, forward = (by_name[name] for name in ("POST /v1/sample", "queue", "batch", "forward"))
    assert {span.context.trace_id for span in by_name.values()} == {0x0AF7651916CD43DD8448EB211C80319C}
    assert request.parent.span_id == 0xB7AD6B7169203331
    assert queue.parent.span_id == batch.parent.span_id == request.context.span_id
    assert forward.parent.span_id == batch.context.span_id
    assert batch.attributes["batch.images"] == 1
    assert request.attributes["http.response.status_code"] == 200
    assert queue.end_time <= batch.start_time <= forward.start_time <= forward.end_time <= batch.end_time
