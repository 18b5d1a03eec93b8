"""Dense flow against warps that are known, and the names of what makes an estimate unusable."""

import numpy as np
import pytest
from scipy import ndimage

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


def breathed(liver, lift_px, noise=0.0, seed=0):
    """The liver `lift_px` further up, with grain of this share of its brightest."""
    grain = noise * np.percentile(liver, 99.8) * np.random.default_rng(seed).standard_normal(liver.shape)
    return ndimage.shift(liver, (-lift_px, 0), order=0, mode="nearest") + grain


def watching(liver, settings=None):
    """An estimator that has seen 30 images of calm breathing: steps of at most 1 px, 2 % noise."""
    flow = DenseFlow(liver, settings)
    for k in range(30):
        verdict = flow.estimate(breathed(liver, (0, 1, 2, 1)[k % 4], 0.02, k)).quality.verdict
        assert verdict is Verdict.OK, k
    return flow


def test_a_cough_is_no_jump_but_an_estimate_that_went_astray_is(liver):
    """Both move 7 px at once; the cough's image is as alike as those before, the other is less alike than any."""
    flow = watching(liver)
    cough = flow.estimate(breathed(liver, 8, 0.01, 90)).quality
    assert cough.verdict is Verdict.OK
    assert cough.innovation_px > FlowSettings().astray_px
    flow = watching(liver)
    astray = flow.estimate(breathed(liver, 8, 0.05, 91)).quality
    assert astray.similarity > FlowSettings().least_similarity, "nothing else is wrong with it"
    assert astray.verdict is Verdict.JUMP
    back = flow.estimate(breathed(liver, 1, 0.02, 92)).quality
    assert back.verdict is Verdict.OK
    assert back.innovation_px < 2, "a jump is not what the next image is compared with"


def test_a_lone_step_judges_nothing_before_there_is_a_usual_one(liver):
    flow = DenseFlow(liver)
    for k in range(5):
        flow.estimate(breathed(liver, k % 2, 0.01, k))
    assert flow.estimate(breathed(liver, 8, 0.05, 91)).quality.verdict is Verdict.OK


def test_no_tissue_moves_further_than_the_most_innovation(liver):
    flow = DenseFlow(liver, FlowSettings(most_innovation_px=5.0))
    assert flow.estimate(breathed(liver, 4)).quality.verdict is Verdict.OK
    assert flow.estimate(breathed(liver, -4)).quality.verdict is Verdict.JUMP


@pytest.mark.parametrize("turned", [False, True])
def test_brightness_that_drifts_moves_nothing(liver, truth, turned):
    """Over minutes the coil's gain falls by a third, an offset comes and the shading tilts; high and wide images."""
    image = liver.T if turned else liver
    field = truth.smooth_field(image.shape, 4, seed=2)
    reference = truth.pull(image, field)
    flow = DenseFlow(reference)
    tilt = np.linspace(-1, 1, image.shape[1])
    for share in np.linspace(0, 1, 5):
        drifted = image * (1 - 0.33 * share) * (1 + 0.1 * share * tilt) + 15 * share
        found = flow.estimate(drifted)
        assert found.quality.verdict is Verdict.OK
        assert truth.end_point_error(found.displacement_px, field, reference) < 0.15, share


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
