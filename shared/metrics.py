"""Prometheus metrics that every service has. A service's own metrics stand beside the code they count."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

FAST = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

http_seconds = Histogram(
    "http_request_seconds",
    "Time to the first byte of the answer",
    ["service", "method", "route", "status"],
    buckets=FAST,
)
handler_seconds = Histogram(
    "event_handler_seconds", "Time to handle an event, commit included", ["service", "type", "outcome"], buckets=FAST
)
event_age_seconds = Histogram(
    "event_age_seconds", "From the event's commit to its effect's commit", ["service", "type"], buckets=FAST
)
published = Counter("events_published_total", "Events confirmed by the bus", ["service", "type"])
outbox_depth = Gauge("outbox_depth", "Events written and not yet confirmed", ["service"])
outbox_age_seconds = Gauge("outbox_age_seconds", "Age of the oldest event not yet confirmed", ["service"])
retries_waiting = Gauge("event_retries_waiting", "Failed deliveries that will be tried again", ["service"])
dead_letters = Gauge("dead_letters", "Deliveries given up; each wants a person", ["service"])
