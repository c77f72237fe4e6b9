"""The provisioner's own metrics."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

START = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.5, 2, 3, 5, 10, 20, 30, 60)

stage_seconds = Histogram(
    "workspace_stage_seconds", "From the click to this stage of a start", ["stage"], buckets=START
)
workspaces = Gauge("workspaces", "Workspaces by state", ["state"])
look_seconds = Histogram("workspace_full_look_seconds", "One full look at rows and containers")
step_seconds = Histogram("workspace_step_seconds", "One step of the control loop", ["step"], buckets=START)
engine_errors = Counter("engine_errors_total", "What the container engine refused, by cause", ["cause"])
restarts = Counter("workspace_restarts_total", "Workspaces started anew by themselves, by cause", ["cause"])
orphans = Counter("orphans_removed_total", "Containers and volumes without a workspace", ["kind"])
streams = Gauge("workspace_streams", "Open event streams")
