"""Two images of one time that are the parts of a complex one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from devices import messages as m
from devices.errors import RemoteProtocolError
from devices.openigtlink.pairing import ImagePair, PairSettings

NOW = 1_700_000_000_123_456_789

PAIRS: list[tuple[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], float]] = [
    ("real_imaginary", lambda z: (z.real, z.imag), 1.0),
    ("magnitude_phase", lambda z: (np.abs(z), np.round(np.angle(z) / (2 * np.pi / 4096))), 2 * np.pi / 4096),
]


@pytest.mark.parametrize(("kind", "split", "unit"), PAIRS)
def test_two_images_of_one_time_become_a_complex_one(
    kind: Any, split: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], unit: float
) -> None:
    z = np.array([[[3 + 4j, -1 + 1j], [2j, 5]]], np.complex64)
    pair = ImagePair(PairSettings(first="mag", second="pha", name="mr", kind=kind, phase_unit_rad=unit))

    def part(name: str, pixels: np.ndarray, time_ns: int) -> m.Image:
        return m.Image(name=name, pixels=pixels, frame="RAS", frame_from_image_mm=np.eye(4), device_time_ns=time_ns)

    first, second = split(z)
    assert pair.accept(part("mag", first, 1)) is None
    assert pair.accept(part("mag", first, 2)) is None  # its phase never came
    joined = pair.accept(part("pha", second, 2))
    assert joined is not None
    assert (joined.name, joined.pixels.dtype, pair.dropped) == ("mr", np.complex64, 1)
    np.testing.assert_allclose(joined.pixels, z, atol=0.01)
    with pytest.raises(RemoteProtocolError, match="do not fit"):
        assert pair.accept(part("mag", first, 3)) is None
        pair.accept(part("pha", second[:, :1], 3))
