"""Drug set free by heat: limits of the model that can be worked out by hand."""

import numpy as np
import pytest

from guidance.thermometry.release import Carrier, ReleaseCount

CARRIER = Carrier(half_c=40.5, width_c=0.4, most_per_s=0.1, transit_s=5.0, plasma_half_s=3600.0)


def test_a_carrier_is_closed_when_cold_and_open_when_warm() -> None:
    cold, half, warm = CARRIER.released(np.array([37.0, 40.5, 44.0]))
    assert cold < 0.001
    assert half == pytest.approx(1.0 - np.exp(-0.05 * 5.0))
    assert warm == pytest.approx(1.0 - np.exp(-0.1 * 5.0), rel=1e-3)
    assert (np.diff(CARRIER.released(np.linspace(30.0, 60.0, 61))) >= 0.0).all()


def test_shares_are_of_what_passed() -> None:
    count = ReleaseCount(CARRIER, (1, 1, 3))
    for _ in range(600):
        count.add(np.array([[[37.0, 42.5, 50.0]]], np.float32), 1.0)
    share = count.share[0, 0]
    assert share[1] == pytest.approx(float(CARRIER.released(np.array(42.5))), rel=1e-5)
    assert count.window_s[0, 0].tolist() == [0.0, 600.0, 0.0]
    for _ in range(600):  # then cold: as much time again, with less in the blood
        count.add(np.full((1, 1, 3), 37.0, np.float32), 1.0)
    left = np.exp(-np.log(2.0) * 600.0 / 3600.0)
    assert count.share[0, 0, 1] == pytest.approx(share[1] / (1.0 + left), rel=2e-3)
    assert count.seconds == 1200.0
