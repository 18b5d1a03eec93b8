"""The figures of docs/campaign.md in full: hours on two cores."""

import io

import pytest
from rich.console import Console

from guidance.faults.nominal import run_nominal
from guidance.faults.run import run_campaign
from guidance.faults.stop_run import run_stops


@pytest.mark.parametrize(("campaign", "cases"), [("A", 10_000), ("B", 1_000), ("C", 80)])
def test_nothing_is_missed_and_nothing_stops_without_reason(campaign: str, cases: int) -> None:
    said = io.StringIO()
    result = run_campaign(campaign, range(cases), "", Console(file=said, width=160))
    print(said.getvalue())
    assert result["cases"] == cases
    assert result["ok"], result["failing_seeds"]


def test_stop_is_soon_at_the_device_of_a_room_in_trouble() -> None:
    said = io.StringIO()
    result = run_stops(range(200), "", Console(file=said, width=160))
    print(said.getvalue())
    assert result["ok"], result


def test_a_hundred_hours_of_nominal_treatment_are_quiet() -> None:
    row = run_nominal("campaign", 100.0, 1)
    print(row)
    assert row["ok"]
    assert row["patients"] == 20 and row["treated_h"] > 25.0


def test_two_hours_at_full_size_are_quiet() -> None:
    row = run_nominal("hifu_liver", 2.0, 1)
    print(row)
    assert row["ok"]
