"""What a page tells of cores and applicators is what the core recorded; acts are offered where the plan has a use."""

import numpy as np
import pytest

from guidance.console.records import offered, records
from guidance.core import Core
from guidance.load import config_file, load_room

OFFERED = {
    "fusion_biopsy_prostate": ["AIM", "CORE"],
    "stereotactic_brain": ["CORE"],
    "brachy_prostate": ["AIM", "PLACE", "VERIFY"],
    "microwave_liver_us": ["PLACE", "VERIFY"],
    "robot_needle": ["PLACE"],
    "mrlinac_gating": [],
    "hyperthermia_release": [],
    "hand_eye_calibration": [],
}


@pytest.mark.parametrize("procedure", OFFERED)
def test_acts_are_offered_where_the_plan_has_a_use_for_them(procedure: str) -> None:
    assert offered(Core(*load_room(config_file("procedures", procedure)))) == OFFERED[procedure]


def test_a_core_is_told_with_what_it_took_of_each_target() -> None:
    core = Core(*load_room(config_file("procedures", "fusion_biopsy_prostate")))
    assert records(core) == {"cores": [], "placed": [], "results": []}
    assert core.plan is not None and core.navigation.cores is not None
    target = core.plan.targets[0].center_mm
    core.navigation.cores.record(7, "Needle", target, np.array([0.0, 0.0, -1.0]), 0.5, (0.0, 18.0))
    (row,) = records(core)["cores"]
    assert (row["number"], row["tool"]) == (1, "Needle")
    assert row["hits"] == {"lesion-1": "certain", "lesion-2": "missed"}
    assert row["depth_mm"]["lesion-1"] > 3.0 > 0.0 > row["depth_mm"]["lesion-2"]
    assert np.allclose(row["ends_mm"], [target, target + np.array([0.0, 0.0, 18.0])])


def test_what_is_treated_is_told_with_whether_it_is_final() -> None:
    core = Core(*load_room(config_file("procedures", "microwave_liver_us")))
    core.navigation.placed["way"] = (np.zeros(3), np.array([0.0, 0.0, 1.0]), 0.7)
    core.navigation.coverage["tumour"] = {
        "final": 0.0, "covered_0mm": 0.975, "minimal_mm": -1.0, "pessimistic_mm": -2.5, "untreated_ml": 0.2
    }  # fmt: skip
    core.navigation.doses["gland"] = {
        "d90_gy": 150.0, "expected_d90_gy": 182.0, "prescribed_gy": 145.0, "v100": 0.9, "last": 0.0
    }  # fmt: skip
    told = records(core)
    assert told["placed"] == [{"name": "way", "tip_mm": [0, 0, 0], "sigma_mm": 0.7}]
    assert [(row["name"], row["value"], row["unit"]) for row in told["results"]] == [
        ("tumour covered, if it were applied now", 97.5, "%"),
        ("tumour thinnest margin", -1.0, "mm"),
        ("the same, less two sigma", -2.5, "mm"),
        ("tumour not treated", 0.2, "ml"),
        ("D90 gland", 150.0, "Gy"),
        ("with the rest as planned", 182.0, "Gy"),
        ("prescribed", 145.0, "Gy"),
        ("V100 gland", 90.0, "%"),
    ]
    core.navigation.coverage["tumour"]["final"] = 1.0
    assert records(core)["results"][0]["name"] == "tumour covered"
