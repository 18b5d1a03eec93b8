"""Dense flow against warps that are known, and the names of what makes an estimate unusable."""

import numpy as np
import pytest

from guidance.motion import DenseFlow, FlowSettings, Verdict, estimate_displacement


@pytest.mark.parametrize("peak_px", [2, 5])
def test_recovers_a_smooth_warp(liver, truth, peak_px):
    field = truth.smooth_field(liver.shape, peak_px, seed=1)
    reference = truth.pull(liver, field)
    found = estimate_displacement(reference, liver * 1.1 + 9)
    assert found.shape == (90, 72, 2) and found.dtype == np.float32
    assert truth.end_point_error(found, field, reference) < 0.10


def test_sign_and_axis_order(liver):
    """current(p + u) = reference(p): tissue that moved 3 px right and 2 px up gives (+3, -2)."""
    current = np.roll(liver, (-2, 3), (0, 1))
    found = estimate_displacement(liver, current)[15:-15, 15:-15]
    np.testing.assert_allclose(np.median(found, axis=(0, 1)), (3, -2), atol=0.02)


@pytest.mark.parametrize("dtype", [">i2", "<u2", "u1", ">f4", "f8"])
def test_takes_any_real_pixels_read_only(liver, dtype):
    current = liver.astype(dtype)
    reference = np.roll(current, 1, axis=1)
    current.setflags(write=False)
    reference.setflags(write=False)
    found = estimate_displacement(reference, current)[15:-15, 15:-15]
    assert abs(float(np.median(found[..., 0])) + 1) < 0.05


@pytest.mark.parametrize("shape", [(16, 16), (17, 40), (32, 31)])
def test_small_images(liver, shape):
    part = liver[20 : 20 + shape[0], 15 : 15 + shape[1]]
    found = estimate_displacement(part, part)
    assert found.shape == (*shape, 2)
    assert float(np.abs(found).max()) < 0.02


def test_follows_organs_that_slide_along_the_wall(liver, truth):
    field = np.zeros((*liver.shape, 2))
    field[:, :50, 1] = 4.0
    reference = truth.pull(liver, field)
    free = truth.end_point_error(estimate_displacement(reference, liver), field, reference)
    stiff = DenseFlow(reference, FlowSettings(sliding=False)).estimate(liver)
    assert free < 0.5 * truth.end_point_error(stiff.displacement_px, field, reference)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[:-1], "shape"),
        (lambda a: np.zeros_like(a), "no structure"),
        (lambda a: np.where(a > 0, np.nan, a), "finite"),
        (lambda a: a[:8, :8], "at least 16"),
        (lambda a: a[None], "rows, columns"),
        (lambda a: a + 1j, "complex"),
    ],
)
def test_refuses_what_it_cannot_use(liver, change, message):
    with pytest.raises(ValueError, match=message):
        estimate_displacement(liver, change(liver))


def test_refuses_a_reference_or_region_without_content(liver):
    with pytest.raises(ValueError, match="reference: has no structure"):
        DenseFlow(np.ones((40, 40)))
    with pytest.raises(ValueError, match="region"):
        DenseFlow(liver, region=np.zeros(liver.shape, bool))


def test_names_what_is_wrong(liver):
    flow = DenseFlow(liver)
    assert flow.estimate(liver).quality.verdict is Verdict.OK
    assert flow.estimate(np.full_like(liver, 40)).quality.verdict is Verdict.BLANK
    assert not flow.estimate(liver[::-1]).quality.verdict.usable
    assert not flow.estimate(np.random.default_rng(0).uniform(0, 200, liver.shape)).quality.verdict.usable
    assert flow.estimate(liver).quality.verdict is Verdict.OK, "one bad image must not spoil the next"


@pytest.mark.data
@pytest.mark.parametrize(
    ("noise", "peak_px", "limit"), [(0, 2, 0.05), (0, 10, 0.05), (0.03, 2, 0.10), (0.03, 10, 0.17)]
)
def test_real_liver_warped_by_a_known_field(cine, truth, noise, peak_px, limit):
    errors = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        frame = cine(0)[20 + 60 * seed].astype(float)
        field = truth.smooth_field(frame.shape, peak_px, seed, 36.0)
        clean = truth.pull(frame, field)
        grain = noise * np.percentile(frame, 99.8) * rng.standard_normal((2, *frame.shape))
        found = estimate_displacement(clean + grain[0], 1.07 * frame + 12 + grain[1])
        errors.append(truth.end_point_error(found, field, clean))
    assert np.mean(errors) < limit


@pytest.mark.data
@pytest.mark.parametrize("which", [0, 1])
def test_every_bad_image_is_named_and_no_good_one(cine, which):
    frames, other = cine(which), cine(1 - which)
    rows, columns = frames[0].shape
    stranger = np.zeros((other.shape[0], max(rows, other.shape[1]), max(columns, other.shape[2])), other.dtype)
    stranger[:, : other.shape[1], : other.shape[2]] = other
    flow = DenseFlow(frames[0])
    for k in range(0, 250, 10):
        assert flow.estimate(frames[k]).quality.verdict is Verdict.OK, k
        turned = np.zeros_like(frames[k])
        quarter = np.rot90(frames[k])[:rows, :columns]
        turned[: quarter.shape[0], : quarter.shape[1]] = quarter
        bad = {
            "blank": np.full_like(frames[k], 7),
            "other slice": stranger[k, :rows, :columns],
            "turned": turned,
            "jump": np.roll(frames[k], ((40, 0), (0, 40), (-40, 0), (0, -40))[k // 10 % 4], (0, 1)),
        }
        for name, image in bad.items():
            assert not flow.estimate(image).quality.verdict.usable, (name, k)
