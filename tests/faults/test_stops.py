"""Campaign S in small: every evidence stops the room by its own rule. Times are for a quiet machine."""

import io

import pytest
from rich.console import Console

from guidance.faults.stop_run import MAX_MS, P99_MS, _row, run_stops


@pytest.mark.slow
def test_a_report_and_a_hot_picture_stop_the_room_while_readers_do_not_read() -> None:
    said = io.StringIO()
    result = run_stops(range(2), "", Console(file=said, width=200), readers=3, cores=0)
    assert result["wrong"] == 0, said.getvalue()
    assert [(row["evidence"], row["count"]) for row in result["rows"]] == [("report", 1), ("picture", 1), ("all", 2)]
    assert all(0.0 < row["p50_ms"] <= row["max_ms"] for row in result["rows"])
    assert "3 readers stood still" in result["load"]


def test_the_row_is_late_where_one_in_a_hundred_is() -> None:
    early = _row("report", [1.0] * 199 + [P99_MS + 1.0])
    assert (early["p50_ms"], early["max_ms"], early["ok"]) == (1.0, P99_MS + 1.0, True)
    assert not _row("report", [1.0] * 95 + [P99_MS + 1.0] * 5)["ok"]
    assert not _row("report", [1.0] * 999 + [MAX_MS + 1.0])["ok"]
    assert not _row("report", [])["ok"]
