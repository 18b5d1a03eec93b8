"""The link's bench runs, each peer that is installed takes its turn, and every row can be judged."""

import pytest

from guidance.bench import link
from guidance.bench.link import KINDS, LIMITS, OURS, rows


@pytest.mark.slow
def test_rows_of_the_link_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "PLACES", link.PLACES[:1])  # half the processes; pinning is the same code
    found = rows(quick=True)
    peers = {row["peer"] for row in found}
    assert {"raw socket", "pyigtl"} <= peers
    streams = [row for row in found if row["name"].startswith("stream")]
    assert len(streams) == len(KINDS) * len(peers), "every peer took its turn at every stream"
    trips = [row for row in found if row not in streams]
    assert len(trips) == len({row["size"] for row in trips}) * len(OURS) * len(peers)
    assert len({row["size"] for row in trips}) % len(KINDS) == 0  # each size once for every way of pinning
    for row in found:
        assert row["ours_ms"] > 0
        if row["peer_ms"] is None:
            assert row["peer"] == "pyigtl", "its connection breaks for good where a send takes more than 10 ms"
            assert "stopped answering" in row["size"]
        else:
            assert row["ratio"] == row["ours_ms"] / row["peer_ms"]
        assert (row["ok"] is None) == (row["limit"] is None)
    assert {row["limit"] for row in found} - {None} <= set(LIMITS.values())
