"""Fifty of each way to hang or die: 200 of 200 within 300 ms."""

import pytest
from supervised import KINDS, one_fault


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_fifty_times_stop_within_its_bound(kind: str) -> None:
    rows = [await one_fault(kind, ("second_client", "takeover")[n % 2]) for n in range(50)]
    times = sorted(row["stop_ms"] for row in rows)
    print(f"{kind}: median {times[25]:.0f} ms, worst {times[-1]:.0f} ms")
    assert times[-1] <= 300.0
    assert all(row["state"] == "stopped" for row in rows)
