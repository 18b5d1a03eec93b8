"""Mild heating of a target whose one side is cooled: uniform from the first moment in its window on."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from guidance.lanes.ahead import PlanAhead
from guidance.lanes.heating import beam_of
from guidance.lanes.power import PowerPlanner
from guidance.lanes.region import Region, cut_region
from guidance.load import config_file, load_room
from guidance.plan import Plan
from guidance.settings import Heating
from guidance.tissue import BioheatModel, Tissue

STEP_S = 0.8
TISSUE = Tissue(arterial_c=37.0)


class Room:
    """Row, plan and region of `hyperthermia_release`, and what control is told of the region."""

    def __init__(self) -> None:
        settings, plan, _ = load_room(config_file("procedures", "hyperthermia_release"))
        assert settings.heating is not None
        assert plan is not None
        self.row: Heating = settings.heating
        self.plan: Plan = plan
        coronal = np.eye(4)
        coronal[:3, :3] = np.array([[-2.5, 0.0, 0.0], [0.0, 0.0, 5.0], [0.0, -2.5, 0.0]])
        self.region: Region = cut_region(plan, self.row, coronal)
        nothing = np.zeros(self.region.shape, np.float32)
        self.told: dict[str, Any] = {
            "region_dose_min": nothing, "region_dose_lower_min": nothing, "region_dose_upper_min": nothing,
            "region_spacing_mm": np.asarray(self.region.spacing_mm), "region_ras": self.region.ras_from_box,
            "region_treated": self.region.treated, "region_wanted": self.region.wanted,
            "region_target": self.region.target, "region_absorption": np.ones(self.region.shape, np.float32),
            "guards_c": {"intercostal-muscle": 37.0},
        }  # fmt: skip

    def course(self, cooled: float, seconds: float) -> NDArray[np.float64]:
        """T10, T50, T90 and the hottest of the target, one row a step; tissue on one side has `cooled` times the
        perfusion, and all of it takes a fifth more than the data sheet says."""
        row, region = self.row, self.region
        assert row.beam is not None
        side = (region.points_mm[:, 0] < row.points_mm[0][0]).reshape(region.shape)
        plant = BioheatModel(region.shape, region.spacing_mm, TISSUE, np.where(side, cooled, 1.0))
        beam = replace(beam_of(row.beam), focal_share=1.2 * row.beam.focal_share)
        heat = [beam.focal_c_per_s(region.points_mm, focus, TISSUE).reshape(region.shape) for focus in region.foci_mm]
        planner = PowerPlanner(row, row.power_max_w, 37.0, self.plan, {"intercostal-muscle": 45.0})
        now, delivered_j, rows = np.full(region.shape, 37.0, np.float32), 0.0, []
        for number in range(round(seconds / STEP_S)):
            facts, _ = planner.plan(number * STEP_S, True, delivered_j, now, region.cells, **self.told)
            power_w = float(facts["power_w"] or 0.0)
            delivered_j += power_w * STEP_S
            now = plant.advance(now, STEP_S, (power_w * heat[int(facts["point"] or 0)]).astype(np.float32))
            rows.append([*np.percentile(now[region.target], (90.0, 50.0, 10.0)), now[region.target].max()])
        return np.array(rows)


@pytest.fixture(scope="module")
def room() -> Room:
    return Room()


def test_the_rim_is_warm_when_the_middle_enters_the_window(room: Room) -> None:
    t10, t50, t90, hottest = room.course(cooled=3.0, seconds=110.0).T
    first = int(np.argmax(t50 >= 41.0))
    assert 20.0 < first * STEP_S < 90.0
    assert t90[first:].min() >= 40.0
    assert t50[first:].min() > 40.9
    assert t50.max() <= 42.0
    assert t10.max() <= 43.0
    assert hottest.max() < 45.0


def test_a_rim_that_stays_cold_does_not_keep_the_rest_from_its_heat(room: Room) -> None:
    ahead = PlanAhead(room.row, 60.0, 37.0, room.told)
    inside = np.flatnonzero(room.region.target)
    stuck = np.full(room.region.shape, 41.0, np.float32)
    stuck.reshape(-1)[inside[: inside.size // 5]] = 38.0
    power = [float(ahead.update(5.0 * n, stuck, room.told, 60.0)[0].sum()) for n in range(130)]
    assert power[1] < 15.0, "the coldest tenth is waited for"
    assert power[-1] > 30.0, "but not for ever"
