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
measure_seconds = Histogram("volume_measure_seconds", "Measuring one batch of volumes", ["lane"])
measured = Counter("volumes_measured_total", "Volumes measured; in part: the time ran out", ["how"])
storage_warnings = Counter("storage_warnings_total", "Companies warned of their storage's limit", ["percent"])
storage_stops = Counter("storage_stops_total", "Workspaces stopped because the storage of their company was full")
disk_free = Gauge("volumes_disk_free_bytes", "What is free on the file system of the volumes")
disk_total = Gauge("volumes_disk_total_bytes", "How large the file system of the volumes is")
disk_low = Gauge("volumes_disk_low", "1 while less is free than the reserve, so that nothing is started")
