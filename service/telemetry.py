"""What is seen from outside: Prometheus metrics, JSON logs with request ids, OpenTelemetry spans.

    gan_requests_total{endpoint,status}      gan_request_seconds{endpoint}      gan_requests_in_progress
    gan_images_total{model,endpoint}         gan_batch_images{model}            gan_queue_images{model}
    gan_jobs{kind,state}                     gan_job_seconds{kind}
    gan_queue_seconds{model}                 gan_forward_seconds{model}         gan_model_info{model,digest}
    process_resident_memory_bytes, process_open_fds, process_cpu_seconds_total and others of the process

    span   request ─┬─ queue      waiting for the device
                    └─ batch      with others; batch.images says how many
                        └─ forward    the network alone

Spans are exported where OTEL_EXPORTER_OTLP_ENDPOINT is set, and cost nothing elsewhere.
"""

import contextvars
import os
from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest


@dataclass(frozen=True)
class BatchReport:
    """What one batch did; times are of `time.time_ns()`."""

    size: int
    items: int
    started_ns: int
    ended_ns: int
    still_queued: int
    queued_ns: tuple[int, ...]
    tags: tuple[object, ...]


current_span: contextvars.ContextVar[trace.Span | None] = contextvars.ContextVar("current_span", default=None)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LONG = (0.1, 1.0, 10.0, 60.0, 300.0, 1800.0, 7200.0, 28_800.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class ForwardTime:
    """When the network itself ran within a batch, in `time.time_ns()`."""

    started_ns: int
    ended_ns: int


class Telemetry:
    """Metrics and spans of one service.

    Metrics have a registry of their own, so that two services in one process (tests) do not meet, and BentoML's own,
    which have every path that was ever asked for as a label, stay out of it. There is one worker, hence one process.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self.registry = CollectorRegistry()
        at = self.registry
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        by_model = ["model"]
        self.requests = Counter("gan_requests", "Requests answered.", ["endpoint", "status"], registry=at)
        self.request_seconds = Histogram(
            "gan_request_seconds",
            "From the first byte in to the last out.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=at,
        )
        self.in_progress = Gauge(
            "gan_requests_in_progress", "Requests being answered.", multiprocess_mode="livesum", registry=at
        )
        self.images = Counter("gan_images", "Images generated.", ["model", "endpoint"], registry=at)
        self.batch_images = Histogram(
            "gan_batch_images",
            "Images in one forward pass (translators: 64 x 64 blocks).",
            by_model,
            buckets=_IMAGES,
            registry=at,
        )
        self.queue_images = Gauge(
            "gan_queue_images", "Images waiting.", by_model, multiprocess_mode="livesum", registry=at
        )
        self.queue_seconds = Histogram(
            "gan_queue_seconds", "Waiting for the device.", by_model, buckets=_SECONDS, registry=at
        )
        self.forward_seconds = Histogram(
            "gan_forward_seconds", "One forward pass.", by_model, buckets=_SECONDS, registry=at
        )
        self.model_info = Gauge(
            "gan_model_info",
            "1 for each version that is served.",
            ["model", "digest"],
            multiprocess_mode="livemax",
            registry=at,
        )
        self.jobs = Gauge(
            "gan_jobs",
            "Jobs that wait and run, in the whole queue.",
            ["kind", "state"],
            multiprocess_mode="livemax",
            registry=at,
        )
        self.job_seconds = Histogram("gan_job_seconds", "One run of a job.", ["kind"], buckets=_LONG, registry=at)
        self._provider = provider or _provider_from_environment()
        self._tracer = self._provider.get_tracer("gan-service") if self._provider else None

    def text(self) -> bytes:
        """For Prometheus: our metrics, then the worker's memory, files and CPU time."""
        return generate_latest(self.registry) + generate_latest(self._process)

    def start_request(self, name: str, headers: Mapping[str, str]) -> trace.Span | None:
        """A server span under the caller's `traceparent`; None where nothing is exported."""
        if self._tracer is None:
            return None
        return self._tracer.start_span(name, extract(headers), kind=trace.SpanKind.SERVER)

    def saw_batch(self, model: str, report: BatchReport, forward: ForwardTime) -> None:
        """Called after every batch, on the thread that ran it."""
        self.batch_images.labels(model).observe(report.size)
        self.forward_seconds.labels(model).observe((forward.ended_ns - forward.started_ns) / 1e9)
        waited = self.queue_seconds.labels(model)
        for queued_ns in report.queued_ns:
            waited.observe((report.started_ns - queued_ns) / 1e9)
        self.queue_images.labels(model).set(report.still_queued)
        if self._tracer is None:
            return
        for queued_ns, parent in zip(report.queued_ns, report.tags, strict=True):
            if isinstance(parent, trace.Span):
                self._spans(model, report, forward, queued_ns, trace.set_span_in_context(parent))

    def _spans(
        self, model: str, report: BatchReport, forward: ForwardTime, queued_ns: int, parent: trace.Context
    ) -> None:
        assert self._tracer is not None
        attributes: dict[str, str | int] = {
            "gan.model": model,
            "batch.images": report.size,
            "batch.requests": report.items,
        }
        queue = self._tracer.start_span("queue", parent, start_time=queued_ns)
        queue.end(report.started_ns)
        batch = self._tracer.start_span("batch", parent, attributes=attributes, start_time=report.started_ns)
        inner = self._tracer.start_span("forward", trace.set_span_in_context(batch), start_time=forward.started_ns)
        inner.end(forward.ended_ns)
        batch.end(report.ended_ns)

    def close(self) -> None:
        """Sends what has not been sent yet."""
        if self._provider:
            self._provider.shutdown()


def _provider_from_environment() -> TracerProvider | None:
    if not (os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")):
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    provider = TracerProvider(resource=Resource.create({"service.name": "gan-service"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
