"""What Prometheus reads at /metrics. Each server has a registry of its own, so tests may start many.

Labels are bounded: routes of the API, models that are served, statuses.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384)


class Metrics:
    """All metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("slonik_requests", "Requests answered.", ["route", "status"], registry=self.registry)
        self.seconds = Histogram(
            "slonik_request_seconds", "Time from the request's headers to the end of its answer.", ["route"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.running = Gauge("slonik_requests_running", "Requests being answered.", registry=self.registry)
        label = ["model"]
        self.queue = Gauge("slonik_queue_depth", "Texts (or prompts) that wait.", label, registry=self.registry)
        self.texts = Histogram("slonik_batch_texts", "Texts per batch.", label, buckets=_TEXTS, registry=self.registry)
        self.tokens = Histogram(
            "slonik_batch_tokens", "Tokens per batch, padding aside.", label, buckets=_TOKENS, registry=self.registry
        )
        self.batch_seconds = Histogram(
            "slonik_batch_seconds", "Time in the model per batch.", label, buckets=_SECONDS, registry=self.registry
        )
        self.dropped = Counter(
            "slonik_dropped", "Texts never encoded because the client disconnected.", label, registry=self.registry
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def of_model(self, name: str) -> ModelMetrics:
        """The metrics of one served model."""
        return ModelMetrics(self, name)

    def exposition(self) -> bytes:
        """The page in Prometheus' text format."""
        return generate_latest(self.registry)


class ModelMetrics:
    """The metrics of one served model; its worker thread calls it once per batch."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._queue = metrics.queue.labels(name)
        self._texts = metrics.texts.labels(name)
        self._tokens = metrics.tokens.labels(name)
        self._seconds = metrics.batch_seconds.labels(name)
        self._dropped = metrics.dropped.labels(name)

    def watch_queue(self, depth: Callable[[], int]) -> None:
        """Read the queue's depth from `depth` whenever the page is read."""
        self._queue.set_function(depth)

    def batch(self, texts: int, tokens: int, seconds: float) -> None:
        """Count one pass through the model."""
        self._texts.observe(texts)
        self._tokens.observe(tokens)
        self._seconds.observe(seconds)

    def dropped(self, texts: int) -> None:
        """Count texts that nobody waited for any more."""
        self._dropped.inc(texts)
