"""The bioheat truth keeps its own books and meets closed forms."""

import numpy as np
import pytest

from sim.phantom.bioheat import Bioheat

RHO, C, K = 1040.0, 3630.0, 0.51


def uniform(shape=(24, 24, 24), voxel_mm=2.0, perfusion=0.0, conductivity=K):
    ones = np.ones(shape)
    return Bioheat(
        voxel_mm=voxel_mm,
        density=RHO * ones,
        heat_capacity=C * ones,
        conductivity=conductivity * ones,
        perfusion=perfusion * ones,
    )


def source(solver, watts):
    q = np.zeros_like(solver.rise_c)
    q[12, 12, 12] = watts
    return q


@pytest.mark.parametrize("perfusion", [0.0, 16.0])
def test_energy_is_stored_or_carried_off(perfusion):
    rng = np.random.default_rng(4)
    shape = (20, 18, 16)
    solver = Bioheat(
        voxel_mm=2.0,
        density=RHO * rng.uniform(0.8, 1.9, shape),
        heat_capacity=C * rng.uniform(0.4, 1.0, shape),
        conductivity=K * rng.uniform(0.4, 1.2, shape),
        perfusion=perfusion * rng.uniform(0, 2, shape),
    )
    q = rng.uniform(0, 1e-3, shape)
    for step in range(300):
        solver.step(0.2, q if step < 100 else 0 * q)
    assert solver.delivered_j == pytest.approx(q.sum() * 20)
    assert solver.stored_j + solver.carried_off_j == pytest.approx(solver.delivered_j, rel=1e-9)
    assert (solver.carried_off_j > 0) == (perfusion > 0)


def test_perfusion_cools_with_its_time_constant():
    solver = uniform(perfusion=16.0, conductivity=1e-9)
    solver.rise_c[:] = 10.0
    tau_s = RHO * C / (16.0 * 3617.0)
    for _ in range(1000):
        solver.step(tau_s / 1000, 0 * solver.rise_c)
    assert solver.rise_c[5, 5, 5] == pytest.approx(10 / np.e, rel=1e-3)


def test_a_point_of_heat_spreads_as_a_gaussian():
    """Second moment of the temperature grows by 2 D t along every axis."""
    solver = uniform()
    solver.step(0.1, source(solver, 10.0))
    for _ in range(600):
        solver.step(0.1, 0 * solver.rise_c)
    weight = solver.rise_c / solver.rise_c.sum()
    x = 2e-3 * (np.arange(24) - 12)
    variance = (weight * (x**2)[:, None, None]).sum()
    assert variance == pytest.approx(2 * K / (RHO * C) * 60.0, rel=0.01)


def test_dose_at_43_degrees_is_the_time_in_minutes():
    solver = uniform(conductivity=1e-9)
    solver.rise_c[:] = 6.0
    for _ in range(600):
        solver.step(0.1, 0 * solver.rise_c)
    assert solver.dose_min[3, 3, 3] == pytest.approx(1.0, rel=1e-6)


def test_dose_of_a_ramp_meets_its_integral():
    """dT/dt = 0.05 K/s from 39 to 51 degC: integral of R^(43-T), split at 43."""
    solver = uniform(conductivity=1e-9)
    solver.rise_c[:] = 2.0
    watts = RHO * C * (2e-3) ** 3 * 0.05
    for _ in range(2400):
        solver.step(0.1, np.full_like(solver.rise_c, watts))
    per_minute = 0.05 * 60
    below = (1 - 4.0**-4) / np.log(4)
    above = (2.0**8 - 1) / np.log(2)
    assert solver.rise_c[4, 4, 4] == pytest.approx(14.0)
    assert solver.dose_min[4, 4, 4] == pytest.approx((below + above) / per_minute, rel=1e-4)


def test_a_step_that_would_be_unstable_is_refused():
    solver = uniform()
    with pytest.raises(ValueError, match="not in"):
        solver.step(solver.longest_step_s * 1.01, 0 * solver.rise_c)
