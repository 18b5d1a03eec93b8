"""A small plan that loads, and ways to break it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from guidance.errors import PlanError
from guidance.plan import Plan, load_plan

BASE = """
schema_version = 1
name = "small"
patient_id = "P1"
frame_of_reference_uid = "1.2.3"
coordinates = "RAS"
unit = "mm"
laterality = "right"

[[targets]]
name = "lesion"
center_mm = [50.0, 10.0, 0.0]
structure = "lesion"

[[trajectories]]
name = "needle"
entry_mm = [50.0, 90.0, 0.0]
target = "lesion"

[[structures]]
name = "lesion"
role = "target"
shape = { kind = "sphere", center_mm = [50.0, 10.0, 0.0], radius_mm = 8.0 }

[[structures]]
name = "vessel"
role = "vessel"
shape = { kind = "capsule", start_mm = [70.0, 0.0, 0.0], end_mm = [70.0, 80.0, 0.0], radius_mm = 3.0 }
"""


class PlanFile:
    """Writes plans into a folder, loads them, collects their faults."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, *changes: tuple[str, str], extra: str = "", name: str = "plan.toml") -> Path:
        text = BASE
        for old, new in changes:
            assert old in text, f"{old!r} is not in the base plan"
            text = text.replace(old, new)
        path = self.folder / name
        path.write_text(text + extra)
        return path

    def load(self, *changes: tuple[str, str], extra: str = "", name: str = "plan.toml") -> Plan:
        return load_plan(self.write(*changes, extra=extra, name=name))

    def faults(self, *changes: tuple[str, str], extra: str = "") -> list[str]:
        with pytest.raises(PlanError) as caught:
            self.load(*changes, extra=extra)
        assert "plan.toml" in caught.value.where
        return caught.value.faults


@pytest.fixture
def plan_file(tmp_path: Path) -> PlanFile:
    return PlanFile(tmp_path)


Faults = Callable[..., list[str]]
