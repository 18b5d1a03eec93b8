"""What a page is told once: the room, the plan, the views, the colours. Everything that does not change."""

import hashlib
from typing import Any

import numpy as np

from guidance.console.records import offered
from guidance.console.regions import Regions
from guidance.core import Core
from guidance.outputs.palette import OUTLINE, Scale, scale_of, temperature_rgb
from guidance.outputs.planes import VIEWS
from guidance.plan import Plan

PROTOCOL = 1
SIGMA_LIMIT_C = 1.5  # a temperature that is less certain is hatched


def welcome(core: Core, regions: Regions) -> dict[str, Any]:
    """The room as JSON values; colours come from the palette that the service's own overlays use."""
    settings = core.settings
    return {
        "protocol": PROTOCOL,
        "room": settings.room,
        "procedure": settings.procedure,
        "title": settings.title or settings.procedure,
        "training": settings.training,
        "settings_sha256": hashlib.sha256(settings.model_dump_json().encode()).hexdigest(),
        "views": {
            name: {"columns": columns, "rows": rows, "letters": letters}
            for name, (columns, rows, letters) in VIEWS.items()
        },
        "streams": {
            row.name: {"kind": row.kind, "link": row.link, "period_ms": row.period_ms, "limit_ms": row.limit_ms}
            for row in settings.streams
        },
        "thermometry": settings.thermometry.stream if settings.thermometry else "",
        "tools": {
            row.name: {"role": row.role, "tip_mm": row.tip_mm, "axis": row.axis, "length_mm": row.length_mm}
            for row in settings.tools
        },
        "therapy": {"device": settings.therapy.device, "power_w": settings.therapy.power_w}
        if settings.therapy
        else None,
        "plan": _plan(core.plan, regions) if core.plan else None,
        "limits": {
            name: {"value": row.value, "unit": row.unit, "source": row.source}
            for name, row in core.scene.limits.items()
        },
        "palette": {name: list(rgb) for name, rgb in OUTLINE.items()},
        "scale": _scale(core),
        "offered": offered(core),
        "gating": settings.gating.boundary_mm if settings.gating else None,
    }


def _scale(core: Core) -> dict[str, Any]:
    """The temperature scale, from cold to hot, where it is drawn, and the sigma above which it is hatched."""
    thermometry = core.settings.thermometry
    scale = scale_of(core.settings)
    return {
        "ends_c": (scale.low_c, scale.high_c),
        "shown_c": scale.shown_c,
        "cold": scale.cold,
        "rgb": _colours(scale),
        "sigma_limit_c": (thermometry.options.get("sigma_dose_c") if thermometry else None) or SIGMA_LIMIT_C,
    }


def _colours(scale: Scale) -> list[list[int]]:
    levels = np.linspace(scale.low_c, scale.high_c, 256, dtype=np.float32)
    rows: list[list[int]] = temperature_rgb(levels, scale).tolist()
    return rows


def _plan(plan: Plan, regions: Regions) -> dict[str, Any]:
    return {
        "name": plan.name,
        "patient": plan.patient_id,
        "laterality": plan.laterality,
        "sha256": plan.content_sha256,
        "files": plan.files,
        "labels": regions.names(),
        "wires": regions.wires(),
        "targets": [
            {
                "name": t.name,
                "center_mm": t.center_mm.tolist(),
                "structure": t.structure,
                "margin_mm": t.margin_mm,
                "prescription": t.prescription,
            }
            for t in plan.targets
        ],
        "trajectories": [
            {
                "name": t.name,
                "entry_mm": t.entry_mm.tolist(),
                "target_mm": t.target_mm.tolist(),
                "corridor_mm": t.corridor_mm,
                "max_angle_deg": t.max_angle_deg,
                "tool": t.tool,
            }
            for t in plan.trajectories
        ],
        "structures": [
            {
                "name": s.name,
                "role": s.role,
                "tissue": s.tissue,
                "surrogate": s.surrogate,
                "limits": s.limits.model_dump(exclude_none=True),
            }
            for s in plan.structures
        ],
        "zones": [zone.name for zone in plan.zones],
    }
