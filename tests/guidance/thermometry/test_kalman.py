"""Filter and forecast against an exact (spectral) solution of the bioheat equation."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from guidance.thermometry import cem43
from guidance.thermometry.forecast import Outlook, forecast_after_power_off
from guidance.thermometry.kalman import BioheatFilter, FilterSettings
from guidance.tissue import BioheatModel, Tissue

SHAPE, SPACING = (5, 48, 48), (3.0, 2.0, 2.0)


class Truth:
    """Exact solution on a periodic, homogeneous grid: every spatial frequency decays on its own."""

    def __init__(self, peak_c_per_s: float, width_mm: float) -> None:
        tissue = Tissue()
        frequency = np.meshgrid(
            *(2 * np.pi * np.fft.fftfreq(n, 1e-3 * d) for n, d in zip(SHAPE, SPACING, strict=True)), indexing="ij"
        )
        self.rate = tissue.perfusion_rate + tissue.diffusivity * sum(k**2 for k in frequency)
        z, y, x = np.indices(SHAPE)
        r2 = ((z - 2) * 3.0) ** 2 + ((y - 24) * 2.0) ** 2 + ((x - 24) * 2.0) ** 2
        self.source = np.fft.fftn(peak_c_per_s * np.exp(-r2 / (2 * width_mm**2)))
        self.state = np.zeros(SHAPE, complex)

    def advance(self, seconds: float, power: float) -> NDArray[np.float64]:
        decay = np.exp(-self.rate * seconds)
        self.state = self.state * decay + power * self.source * (1.0 - decay) / self.rate
        return 37.0 + np.fft.ifftn(self.state).real


def run(seed: int, sigma: float = 0.5) -> Any:
    rng = np.random.default_rng(seed)
    truth, model = Truth(1.2, 6.0), BioheatModel(SHAPE, SPACING)
    kalman = BioheatFilter(model, 37.0, 0.2)
    for number in range(60):
        power = 1.0 if 10 <= number < 45 else 0.0
        exact = truth.advance(1.0, power)
        raw = (exact + sigma * rng.normal(size=SHAPE)).astype(np.float32)
        yield number, exact, raw, kalman.update(raw, np.full(SHAPE, sigma, np.float32), float(number), power=power)


def test_filter_is_better_than_raw_and_knows_by_how_much() -> None:
    ratios, gains = [], []
    for number, exact, raw, found in run(1):
        hot = exact > 40.0
        if number > 14 and hot.any():
            error = found.temperature_c - exact
            ratios.append(np.sqrt(np.mean((error / found.sigma_c)[hot] ** 2)))
            gains.append(np.sqrt(np.mean(error[hot] ** 2)) / np.sqrt(np.mean((raw - exact)[hot] ** 2)))
    assert np.median(gains) < 0.5
    assert 0.7 < np.median(ratios) < 1.1


def test_artefacts_are_refused_and_lasting_change_is_believed() -> None:
    kalman = BioheatFilter(BioheatModel(SHAPE, SPACING), 37.0, 0.2)
    sigma, rng = np.full(SHAPE, 0.3, np.float32), np.random.default_rng(2)

    def frame(shift: float) -> Any:
        image = (37.0 + 0.3 * rng.normal(size=SHAPE)).astype(np.float32)
        image[2, 20:23, 20:23] += shift
        return image

    for number in range(10):
        kalman.update(frame(0.0), sigma, float(number))
    found = kalman.update(frame(15.0), sigma, 10.0)
    assert found.artefact[2, 20:23, 20:23].all()
    assert found.artefact.mean() < 0.002
    assert abs(float(found.temperature_c[2, 21, 21]) - 37.0) < 0.5
    for number in range(11, 14):
        found = kalman.update(frame(15.0), sigma, float(number))
    assert float(found.temperature_c[2, 21, 21]) > 48.0
    with pytest.raises(ValueError, match="follow"):
        kalman.update(frame(0.0), sigma, 13.0)


def test_an_error_that_is_more_than_its_whole_is_refused() -> None:
    kalman = BioheatFilter(BioheatModel(SHAPE, SPACING), 37.0, 0.2)
    image, sigma = np.full(SHAPE, 37.0, np.float32), np.full(SHAPE, 0.1, np.float32)
    with pytest.raises(ValueError, match="shared_sigma_c"):
        kalman.update(image, sigma, 0.0, shared_sigma_c=0.5)


def test_missing_voxels_are_predicted() -> None:
    kalman = BioheatFilter(BioheatModel(SHAPE, SPACING), 37.0, 0.2)
    image, sigma = np.full(SHAPE, 37.0, np.float32), np.full(SHAPE, 0.3, np.float32)
    image[0], sigma[0] = np.nan, np.inf
    for number in range(5):
        found = kalman.update(image, sigma, float(number))
    assert np.isfinite(found.temperature_c).all()
    assert found.sigma_c[0].min() > found.sigma_c[1].max()


@pytest.mark.parametrize("seed", range(4))
def test_forecast_of_the_lesion_after_power_off(seed: int) -> None:
    *_, (_, _, _, found) = (step for step in run(seed) if step[0] == 44)
    truth = Truth(1.2, 6.0)
    history = [truth.advance(1.0, 1.0 if 10 <= number < 45 else 0.0) for number in range(45 + 180)]
    times = np.arange(len(history), dtype=float)
    so_far, final = cem43(np.array(history[:45]), times[:45]), cem43(np.array(history), times)
    dose = so_far.astype(np.float32)
    found_dose = forecast_after_power_off(
        Outlook(found.temperature_c, found.sigma_c, dose, 1.1 * dose, SPACING, Tissue())
    )
    lesion, before = final >= 240.0, so_far >= 240.0
    expected = found_dose.dose_min >= 240.0
    assert lesion.sum() > before.sum() + 15, "the lesion grows after power-off"
    assert (expected & lesion & ~before).sum() >= 0.8 * (lesion & ~before).sum()
    assert (expected & ~lesion).sum() <= 0.1 * lesion.sum()
    assert (found_dose.upper_min >= final)[lesion].mean() >= 0.95
    assert ((found_dose.lower_min >= 240.0) & ~lesion).sum() == 0


def test_planes_between_the_slices_follow_their_neighbours_and_the_beam() -> None:
    """A beam that is 30 % stronger than said, seen by every second plane only."""
    source = Truth(1.2, 6.0)
    drive = np.fft.ifftn(source.source).real.astype(np.float32)
    settings = FilterSettings(absorption_mean=1.0, absorption_start=0.4, between_planes=1)
    kalman = BioheatFilter(BioheatModel(SHAPE, SPACING), 37.0, 0.2, settings)
    blind = BioheatFilter(BioheatModel(SHAPE, SPACING), 37.0, 0.2, settings)
    rng, seen = np.random.default_rng(4), np.zeros(SHAPE, bool)
    seen[::2] = True
    for number in range(60):
        power = 1.0 if 10 <= number < 45 else 0.0
        exact = source.advance(1.0, 1.3 * power)
        raw = (exact + 0.3 * rng.normal(size=SHAPE)).astype(np.float32)
        sigma = np.where(seen, np.float32(0.3), np.float32(np.inf))
        found = kalman.update(raw, sigma, float(number), power=power * drive)
        guess = blind.update(raw, np.full(SHAPE, np.inf, np.float32), float(number), power=power * drive)
        hot = (exact > 41.0) & ~seen
        if number > 20 and hot.any():
            error, worse = (found.temperature_c - exact)[hot], (guess.temperature_c - exact)[hot]
            assert np.sqrt(np.mean(error**2)) < 0.7
            assert abs(error).max() < 2.5, "what no slice sees must not run away"
            assert np.sqrt(np.mean(error**2)) < 0.5 * np.sqrt(np.mean(worse**2))
    assert 1.2 < float(np.median(kalman.absorption[:, 20:28, 20:28])) < 1.4


@pytest.mark.parametrize("true_factor", [0.5, 1.5])
def test_perfusion_is_learned_while_heating(true_factor: float) -> None:
    shape, spacing = (3, 32, 32), (4.0, 2.0, 2.0)
    patient = BioheatModel(shape, spacing)
    patient.perfusion_factor = true_factor
    row, column = np.mgrid[:32, :32] - 16.0
    heating = np.broadcast_to(1.5 * np.exp(-(row**2 + column**2) / 40.0), shape).astype(np.float32)
    kalman = BioheatFilter(BioheatModel(shape, spacing), 37.0, 0.5, FilterSettings(perfusion_spread=0.5))
    rng = np.random.default_rng(5)
    truth = np.full(shape, 37.0, np.float32)
    for number in range(1, 60):
        on = number <= 40
        truth = patient.advance(truth, 0.5, heating * on)
        measured = (truth + 0.3 * rng.normal(size=shape)).astype(np.float32)
        kalman.update(measured, np.full(shape, 0.3, np.float32), 0.5 * number, power=float(on))
    found = kalman.perfusion
    assert found is not None
    assert abs(found.factor - true_factor) < 0.15
    assert found.spread < 1.6
    np.testing.assert_allclose(found.of(Tissue()).perfusion, 16.0 * found.factor)


@pytest.mark.parametrize("alike_c", [0.0, 0.6])
def test_errors_that_neighbours_share_make_the_learned_perfusion_less_sure(alike_c: float) -> None:
    """Four breaths in turn, each with its own smooth error, as a baseline leaves them over."""
    shape, spacing, noise_c, true_factor = (3, 32, 32), (4.0, 2.0, 2.0), 0.3, 0.7
    row, column = np.mgrid[:32, :32] - 16.0
    heating = np.broadcast_to(1.5 * np.exp(-(row**2 + column**2) / 40.0), shape).astype(np.float32)
    sigma_c = np.full(shape, np.hypot(noise_c, alike_c), np.float32)
    found = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        breaths = ndimage.gaussian_filter(rng.normal(size=(4, *shape)), (0.0, 0.0, 4.0, 4.0))
        breaths *= alike_c / breaths.std()
        patient = BioheatModel(shape, spacing)
        patient.perfusion_factor = true_factor
        kalman = BioheatFilter(BioheatModel(shape, spacing), 37.0, 0.5, FilterSettings(perfusion_spread=0.5))
        truth = np.full(shape, 37.0, np.float32)
        for number in range(41):
            truth = patient.advance(truth, 0.5, heating) if number else truth
            error = noise_c * rng.normal(size=shape) + breaths[rng.integers(4)]
            kalman.update((truth + error).astype(np.float32), sigma_c, 0.5 * number, power=1.0)
        assert kalman.perfusion is not None
        found.append((kalman.perfusion.factor - true_factor, kalman.perfusion.sigma))
    away, told = (float(np.sqrt(np.mean(np.square(values)))) for values in zip(*found, strict=True))
    if alike_c:
        assert 0.5 < away / told < 2.0
    else:
        assert told < 0.05 and away < 0.05
