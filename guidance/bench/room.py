"""The whole room at full rate: the default procedure for a while, its latencies against what must be reached."""

import asyncio
from typing import Any

import uvloop

from guidance.demo import run_demo

# (summary path, percentile, limit in ms); the machine should be otherwise idle
LIMITS = (
    ("latency_ms", "pose_to_output", "p50", 0.5),
    ("latency_ms", "pose_to_output", "p99", 3.0),
    ("device_to_consumer_ms", "pose", "p50", 0.5),
    ("device_to_consumer_ms", "pose", "p99", 8.0),
    ("latency_ms", "image_to_overlay", "p99", 40.0),
    ("latency_ms", "evidence_to_alert", "p99", 20.0),
    ("latency_ms", "evidence_to_alert", "max", 100.0),
)


def rows(quick: bool) -> list[dict[str, Any]]:
    """Latencies of `guidance demo` (4 tools at 100 Hz, ultrasound at 30 Hz, thermometry at 5 Hz), and the losses."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        summary = runner.run(run_demo("hifu_liver", 10.0 if quick else 60.0, 1, browser=False))
    found = [_latency(summary, *limit) for limit in LIMITS]
    streams = summary["streams"]
    for name, share in (("poses", 0.0), ("images", 0.01)):
        chosen = [row for key, row in streams.items() if (key in ("Ultrasound", "MR")) == (name == "images")]
        # what was refused as impossible (K3) is not lost
        lost = sum(row["dropped"] for row in chosen) / max(sum(row["received"] for row in chosen), 1)
        found.append(
            {
                "name": f"lost {name}",
                "size": "share",
                "ours_ms": None,
                "ratio": lost,
                "limit": share,
                "ok": lost <= share,
            }
        )
    return found


def _latency(summary: dict[str, Any], group: str, kind: str, column: str, limit: float) -> dict[str, Any]:
    value = summary[group][kind].get(column)
    return {
        "name": f"{group} {kind}",
        "size": column,
        "ours_ms": value,
        "peer": "limit, ms",
        "peer_ms": limit,
        "ratio": None if value is None else value / limit,
        "limit": 1.0,
        "ok": value is not None and value <= limit,
    }
