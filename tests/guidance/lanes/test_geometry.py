"""What consoles get to draw by themselves."""

from pathlib import Path

import numpy as np

from guidance.lanes.geometry import GeometryWork
from guidance.plan import load_plan

PLAN = Path(__file__).resolve().parents[3] / "config" / "plans" / "fusion_biopsy_prostate" / "plan.toml"


def test_a_lesion_is_not_hidden_by_its_organ_in_the_label_map() -> None:
    plan = load_plan(PLAN)
    _, made = GeometryWork(plan).geometry()
    labels, ras = made["labels"], made["labels.ras"]
    for target in plan.targets:
        i, j, k = np.rint((target.center_mm - ras[:3, 3]) / np.diag(ras)[:3]).astype(int)
        assert plan.structures[labels[k, j, i] - 1].name == target.structure
