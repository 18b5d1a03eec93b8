"""What a page tells of a heated target comes from the control, and is unknown where its frames are not live."""

import pytest

from guidance.console.heated import FIRST, REST, heated
from guidance.core import Core
from guidance.load import config_file, load_room

KNOWN = {
    "t10_c": 42.2, "t50_c": 41.5, "t90_c": 40.6, "release_mean": 0.25, "window_share": 0.5,
    "coverage": 0.98, "coverage_lower": 0.9, "margin_coverage": 0.95,
}  # fmt: skip
SHOWN = {
    "hyperthermia_release": {
        "T50 tumour": 41.5, "T90 tumour": 40.6, "drug set free in tumour": 25.0,
        "T10 tumour": 42.2, "time at 40-43 degC of tumour": 50.0,
    },
    "hifu_liver": {"full dose in tumour": 98.0, "surely in tumour": 90.0, "with margin tumour": 95.0},
    "cryo_kidney": {},
}  # fmt: skip


@pytest.mark.parametrize("procedure", SHOWN)
def test_the_target_is_told_by_the_goal_of_its_heating(procedure: str) -> None:
    core = Core(*load_room(config_file("procedures", procedure)))
    core.control.facts |= KNOWN
    told = {row["name"]: row["value"] for table in (FIRST, REST) for row in heated(core, table, True, 10.0)}
    assert told == SHOWN[procedure]
    for facts, live in ((KNOWN, False), ({}, True)):
        core.control.facts = dict(facts)
        assert all(row["value"] is None for table in (FIRST, REST) for row in heated(core, table, live, 10.0))
