"""Bad input through the running core: every fault of a frame has its name, and none becomes a plausible number."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from devices.messages import Image
from guidance.events import Job
from guidance.lanes import Workbench
from guidance.thermometry.frame import STATES

SHAPE = (3, 40, 40)
TAGS = {"EchoTime_s": "0.016", "ImagingFrequency_MHz": "127.732"}
RADIANS_PER_C = -2.0 * np.pi * 42.577478518e6 * 3.0 * 0.01e-6 * 0.016
ROW, COLUMN = np.mgrid[: SHAPE[1], : SHAPE[2]]
SPOT = np.broadcast_to(np.exp(-((ROW - 20) ** 2 + (COLUMN - 20) ** 2) / 40.0), SHAPE)
TISSUE = np.broadcast_to((abs(ROW - 20) < 17) & (abs(COLUMN - 20) < 17), SHAPE)


class Scan:
    """A room whose lanes work at once, and a scanner in hand."""

    def __init__(self, bench: Any) -> None:
        self.bench, self.lanes = bench, Workbench(bench.core.settings, None)
        self.rng = np.random.default_rng(7)

    def pixels(self, rise_c: float = 0.0, sign: float = 1.0) -> np.ndarray:
        noise = self.rng.normal(size=(2, *SHAPE)) * 3.0
        body = np.where(TISSUE, 100.0, 0.0) * np.exp(1j * (0.05 * ROW + sign * RADIANS_PER_C * rise_c * SPOT))
        return (body + noise[0] + 1j * noise[1]).astype(np.complex64)

    def send(self, pixels: np.ndarray, tags: dict[str, str] | None = None, place: np.ndarray | None = None) -> Any:
        """One frame through core and lane; the newest facts of thermometry."""
        bench = self.bench
        bench.step(200, image=False)
        image = Image(
            name="MR", pixels=pixels, frame="RAS", frame_from_image_mm=np.eye(4) if place is None else place,
            device_time_ns=bench.now_ns, receive_time_ns=bench.now_ns, tags=tags or TAGS,
        )  # fmt: skip
        for effect in bench.say("mr", image):
            if isinstance(effect, Job) and effect.kind == "thermometry":
                bench.give(self.lanes.run(effect, bench.now_ns))
        return bench.core.thermometry.facts

    def settle(self, rise_c: float = 0.0) -> None:
        for _ in range(4):
            assert self.send(self.pixels())["state"] == "acquiring_reference"
        for number in range(6):
            facts = self.send(self.pixels(rise_c * number / 5.0))
        assert facts["state"] == "ok"
        assert facts["max_c"] == pytest.approx(37.0 + rise_c, abs=2.0)


@pytest.fixture
def scan(bench: Any) -> Scan:
    return Scan(bench)


def _nan(pixels: np.ndarray) -> np.ndarray:
    pixels[:, ::2] = np.nan
    return pixels


def _lost_slice(pixels: np.ndarray) -> np.ndarray:
    pixels[1] = 0.0
    return pixels


BROKEN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "no_signal": np.zeros_like,
    "not_finite": _nan,
    "missing_slice": _lost_slice,
    "shape_changed": lambda pixels: pixels[:, :32],
}


@pytest.mark.parametrize("state", BROKEN)
def test_broken_pixels_have_a_name_and_no_temperature(scan: Scan, state: str) -> None:
    scan.settle(10.0)
    facts = scan.send(BROKEN[state](scan.pixels(10.0)))
    assert facts["state"] == state
    assert STATES[state][1] in facts["reason"]
    assert "max_c" not in facts
    assert "temperature_c" not in scan.bench.core.scene.volume or not scan.bench.core.scene.volume["valid"].any()
    after = scan.send(scan.pixels(10.0))
    assert after["state"] == "ok"
    assert after["max_c"] == pytest.approx(47.0, abs=2.0)


@pytest.mark.parametrize(
    ("factor", "state"), [(np.inf, "not_finite"), (1e30, "not_finite"), (1e-30, "no_signal"), (0.0, "no_signal")]
)
def test_pixels_of_an_impossible_size_are_named(scan: Scan, factor: float, state: str) -> None:
    scan.settle(10.0)
    with np.errstate(invalid="ignore"):
        facts = scan.send((scan.pixels(10.0) * np.float32(factor)).astype(np.complex64))
    assert (facts["state"], "max_c" in facts) == (state, False)
    assert scan.send(scan.pixels(10.0))["state"] == "ok"


def test_one_pixel_that_is_not_finite_is_unknown_and_its_neighbours_are_not(scan: Scan) -> None:
    scan.settle(10.0)
    pixels = scan.pixels(10.0)
    pixels[1, 20, 20] = np.nan
    assert scan.send(pixels)["state"] == "ok"
    volume = scan.bench.core.scene.volume
    assert np.isnan(volume["temperature_c"][1, 20, 20])
    assert not volume["valid"][1, 20, 20]
    assert volume["temperature_c"][1, 20, 21] == pytest.approx(47.0, abs=2.5)


def test_a_phase_sign_that_flips_in_the_run_is_not_ok(scan: Scan) -> None:
    scan.settle(10.0)
    facts = [scan.send(np.conj(scan.pixels(10.0))) for _ in range(3)]
    assert [row["state"] for row in facts] == ["few_valid_voxels"] * 3
    assert scan.bench.core.scene.facts.get("thermometry_valid_share", "MR").value < 0.6


@pytest.mark.parametrize("broken", ["no_signal", "not_finite"])
def test_broken_pixels_are_no_reference(scan: Scan, broken: str) -> None:
    facts = scan.send(BROKEN[broken](scan.pixels()))
    assert facts["state"] == broken
    assert "refused as reference" in facts["reason"]


@pytest.mark.parametrize(
    ("tags", "state"),
    [
        ({"EchoTime_s": "0.012"}, "echo_time_changed"),
        ({"ImagingFrequency_MHz": "63.866"}, "field_changed"),
    ],
)
def test_another_sequence_is_named_at_the_start_and_in_the_run(scan: Scan, tags: dict[str, str], state: str) -> None:
    first = scan.send(scan.pixels(), TAGS | tags)
    assert first["state"] == state
    scan.settle()
    facts = scan.send(scan.pixels(), TAGS | tags)
    assert facts["state"] == state
    assert "max_c" not in facts
    fact = scan.bench.core.scene.facts.get("thermometry_mismatch", "MR")
    assert fact is not None
    assert fact.value == 1.0


def test_a_tag_in_the_wrong_unit_fails_by_name(scan: Scan) -> None:
    scan.settle()
    scan.bench.step(200, image=False)
    image = Image(
        name="MR", pixels=scan.pixels(), frame="RAS", frame_from_image_mm=np.eye(4),
        device_time_ns=scan.bench.now_ns, receive_time_ns=scan.bench.now_ns, tags=TAGS | {"EchoTime_s": "16"},
    )  # fmt: skip
    jobs = [e for e in scan.bench.say("mr", image) if isinstance(e, Job) and e.kind == "thermometry"]
    done = scan.lanes.run(jobs[0], scan.bench.now_ns)
    assert "EchoTime_s" in done.failed
    assert "seconds" in done.failed
    scan.bench.give(done)
    seen = scan.bench.core.scene.facts.get("guard_unseen_frames", "MR")
    assert seen is not None
    assert seen.value == 1.0


def test_a_flipped_phase_sign_is_not_shown_as_cold(scan: Scan) -> None:
    scan.settle()
    states = [scan.send(scan.pixels(2.0 * number, sign=-1.0))["state"] for number in range(1, 9)]
    assert states[-1] == "cooling"
    assert states[0] == "ok"
    assert "phase_sign" in scan.bench.core.thermometry.facts["reason"]


def test_frames_that_repeat_or_lie_elsewhere_are_named(scan: Scan) -> None:
    scan.settle()
    pixels = scan.pixels()
    assert scan.send(pixels)["state"] == "ok"
    assert scan.send(pixels.copy())["state"] == "repeated_frame"
    assert [scan.send(scan.pixels())["state"] for _ in range(3)] == ["ok"] * 3
    older = scan.send(pixels.copy())
    assert (older["state"], "max_c" in older) == ("repeated_frame", False)
    assert "before" in str(older["reason"])
    place = np.eye(4)
    place[2, 3] = 4.0
    facts = scan.send(scan.pixels(), place=place)
    assert facts["state"] == "plane_moved"
    assert "new reference" in facts["reason"]
    assert "max_c" not in facts


ELSEWHERE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "5 rows down": lambda pixels: np.roll(pixels, 5, axis=1),
    "5 columns left": lambda pixels: np.roll(pixels, -5, axis=2),
    "shuffled": lambda pixels: np.random.default_rng(1).permuted(pixels.ravel()).reshape(pixels.shape),
}


@pytest.mark.parametrize("how", ELSEWHERE)
def test_a_picture_that_jumped_is_named_and_gives_no_number(plain_room: Any, make_bench: Any, how: str) -> None:
    row = plain_room["thermometry"] | {"baseline": "hybrid", "reference_dynamics": 8}
    scan = Scan(make_bench(plain_room | {"thermometry": row}))
    states = [scan.send(scan.pixels())["state"] for _ in range(12)]
    assert states == ["acquiring_reference"] * 8 + ["ok"] * 4
    facts = scan.send(ELSEWHERE[how](scan.pixels()))
    assert facts["state"] == "picture_jumped"
    assert "new reference" in facts["reason"]
    assert "max_c" not in facts
    assert not scan.bench.core.scene.volume["valid"].any()
    assert scan.send(scan.pixels())["state"] == "ok"


def test_every_bad_state_is_a_quality_that_is_not_shown_as_live() -> None:
    assert {name for name, (quality, _) in STATES.items() if quality.value == "ok"} == {"ok"}
