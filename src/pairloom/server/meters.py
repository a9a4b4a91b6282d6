"""What a server counts, for Prometheus: load, batches, tokens, times, refusals. One registry for each server."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Meters:
    """All counters of a server."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "pairloom_requests", "Requests answered", ("path", "method", "status"), registry=registry
        )
        self.seconds = Histogram(
            "pairloom_request_seconds", "From the request to its answer", ("path",), buckets=SECONDS, registry=registry
        )
        self.refused = Counter("pairloom_refused", "Requests refused, by reason", ("reason",), registry=registry)
        self.abandoned = Counter(
            "pairloom_abandoned_jobs", "Jobs not computed, as their client had gone or time was over", registry=registry
        )
        self.batch_size = Histogram(
            "pairloom_batch_size", "Texts answered together", ("model",), buckets=SIZES, registry=registry
        )
        self.batch_seconds = Histogram(
            "pairloom_batch_seconds", "Time of a batch in the model", ("model",), buckets=SECONDS, registry=registry
        )
        self.wait_seconds = Histogram(
            "pairloom_wait_seconds", "Time of a job in the queue", buckets=SECONDS, registry=registry
        )
        self.tokens = Counter("pairloom_tokens", "Tokens read and written", ("model", "direction"), registry=registry)
        self.failures = Counter("pairloom_failures", "Jobs that failed by a fault of the server", registry=registry)
        self.draining = Gauge("pairloom_draining", "1 while the server ends", registry=registry)
        self._registry_gauges: list[Gauge] = []

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A gauge that is read when somebody asks."""
        gauge = Gauge(name, text, registry=self.registry)
        gauge.set_function(value)
        self._registry_gauges.append(gauge)

    def exposition(self) -> bytes:
        """All of them as Prometheus reads them."""
        return generate_latest(self.registry)
