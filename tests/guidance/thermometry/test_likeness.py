"""A picture that jumped has no temperature and a name; breathing as the references showed it has one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guidance.bench.baselines import discs_of, load_series
from guidance.thermometry import ThermometryPipeline, ThermometrySettings
from guidance.thermometry.frame import STATES
from guidance.thermometry.likeness import Likeness

JUMPS = ((5, 0), (-5, 0), (0, 5), (0, -5))


def breathing_pipeline(phantom: Any, baseline: str = "hybrid") -> ThermometryPipeline:
    settings = ThermometrySettings(
        echo_time_s=0.016, field_t=3.0, t0_c=37.0, baseline=baseline, reference_dynamics=12, drift_order=1
    )
    return ThermometryPipeline(settings, heated=phantom.spot > 0.05)


def moved(phantom: Any, number: int, jump: tuple[int, int] = (0, 0), change_c: float = 0.0) -> Any:
    """A frame in which breathing turns the field and moves the lower edge of the tissue by a row, and a jump."""
    row, column = np.mgrid[-1 : 1 : complex(phantom.shape[1]), -1 : 1 : complex(phantom.shape[2])]
    state = np.sin(1.7 * number)
    image = phantom.frame(change_c * phantom.spot + 6.0 * state * row + 2.0 * state**2 * column)
    image[:, 43] *= 0.5 + 0.4 * state
    return np.roll(image, jump, axis=(1, 2))


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("baseline", ["hybrid", "pca", "nearest"])
def test_a_jump_of_the_picture_has_a_name_and_no_temperature(
    make_phantom: Any, baseline: str, jump: tuple[int, int]
) -> None:
    phantom = make_phantom(seed=5)
    pipeline = breathing_pipeline(phantom, baseline)
    frames = [pipeline.update(moved(phantom, n), float(n)) for n in range(20)]
    assert {frame.state for frame in frames[12:]} == {"ok"}
    dose = frames[-1].dose_cem43_min
    frame = pipeline.update(moved(phantom, 20, jump), 20.0)
    assert frame.state == "picture_jumped"
    assert "new reference" in frame.reason
    assert not frame.valid.any()
    assert (frame.dose_cem43_min == dose).all()
    assert pipeline.update(moved(phantom, 21), 21.0).state == "ok", "back where it was"


def test_heat_noise_gain_and_the_breath_are_no_jump(make_phantom: Any) -> None:
    phantom = make_phantom(seed=6)
    pipeline = breathing_pipeline(phantom)
    for number in range(12):
        pipeline.update(moved(phantom, number), float(number))
    for number in range(12, 40):
        image = moved(phantom, number, change_c=number - 12.0) * (1.0 - 0.3 * (number - 12) / 28 * phantom.spot)
        assert pipeline.update(image.astype(np.complex64), float(number)).state == "ok", number
    assert pipeline.update(1.4 * moved(phantom, 40, change_c=28.0), 40.0).state == "ok", "another receiver gain"
    phantom.noise *= 3.0
    assert pipeline.update(moved(phantom, 41, change_c=28.0), 41.0).state != "picture_jumped"


def test_a_new_reference_is_the_way_out(make_phantom: Any) -> None:
    phantom = make_phantom(seed=7)
    pipeline = breathing_pipeline(phantom)
    states = [pipeline.update(moved(phantom, n, (0, 5 * (n >= 20))), float(n)).state for n in range(24)]
    assert states[20:] == ["picture_jumped"] * 4
    pipeline.re_zero()
    states = [pipeline.update(moved(phantom, n, (0, 5)), float(n)).state for n in range(24, 40)]
    assert states[12:] == ["ok"] * 4


def test_few_frames_or_little_tissue_are_not_judged(make_phantom: Any) -> None:
    phantom = make_phantom(seed=8)
    far = np.roll(phantom.frame(), 20, axis=2)
    assert Likeness([phantom.frame() for _ in range(5)], phantom.tissue).distance(far) == 0.0
    assert Likeness([phantom.frame() for _ in range(6)], phantom.tissue).distance(far) > 0.1
    little = np.zeros_like(phantom.tissue)
    little[:, 16:24, 16:24] = True
    assert Likeness([phantom.frame() for _ in range(6)], little).distance(far) == 0.0


def test_a_breath_deeper_than_the_references_is_reached_step_by_step(make_phantom: Any) -> None:
    phantom = make_phantom(seed=10)
    row = np.mgrid[: phantom.shape[1], : phantom.shape[2]][0]

    def at(depth: float) -> Any:  # the edge of a darker organ, 2 rows wide
        return (phantom.frame() * (1.0 - 0.4 / (1.0 + np.exp(row - 16.0 - depth)))).astype(np.complex64)

    likeness = Likeness([at(0.1 * n) for n in range(8)], phantom.tissue)
    assert likeness.distance(at(12.0)) > likeness.limit, "at once it is a jump"
    for step in range(13):
        assert likeness.distance(at(float(step))) < likeness.limit, step
    assert likeness.distance(at(12.0)) < 0.5 * likeness.limit
    assert likeness.distance(np.roll(at(12.0), 5, axis=2)) > likeness.limit


def test_pixels_that_are_not_finite_are_dark_and_no_error(make_phantom: Any) -> None:
    phantom = make_phantom(seed=9)
    likeness = Likeness([phantom.frame() for _ in range(8)], phantom.tissue)
    spoiled = phantom.frame()
    spoiled[1, 20, 20:24] = (np.nan, np.inf, complex(0, -np.inf), complex(np.nan, 1))
    assert likeness.distance(spoiled) < likeness.limit
    assert likeness.distance(np.full_like(spoiled, np.nan)) == pytest.approx(1.0)


def test_every_reason_tells_what_to_do() -> None:
    quality, words = STATES["picture_jumped"]
    assert quality.value == "invalid"
    assert "reference" in words


@pytest.mark.data
def test_real_breathing_is_like_its_references_and_a_jump_is_not(data_dir: Path) -> None:
    """Every frame of the free-breathing series against the nine others, around every tenth disc of two seeds."""
    frames, tissue = load_series(data_dir)
    stack = [frame[None] for frame in frames]
    for disc in [disc for seed in (0, 1) for disc in discs_of(tissue, seed)[::10]]:
        for left_out, frame in enumerate(stack):
            likeness = Likeness(stack[:left_out] + stack[left_out + 1 :], (tissue & ~disc)[None])
            assert likeness.distance(frame) < 0.5 * likeness.limit
            assert all(likeness.distance(np.roll(frame, jump, axis=(1, 2))) > likeness.limit for jump in JUMPS)
