"""Arrhenius damage integral with named parameter sets.

Omega = integral of A exp(-Ea / (R T)) dt; 1 means that 63 % of the process is complete. It shows
what is surely dead, never what is spared, and one map never mixes parameter sets. One process is a
simplification: the liver of its source began to coagulate ten times sooner and ended ten times later.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidance.thermometry.dose import check_times
from guidance.thermometry.prf import real_dtype

GAS_CONSTANT = 8.314462618  # J/mol/K
BOLTZMANN_OVER_PLANCK = 1.380649e-23 / 6.62607015e-34  # 1/s/K
ZERO_C_IN_K = 273.15


@dataclass(frozen=True)
class ArrheniusParameters:
    """`ln_frequency` is ln A (A in 1/s), `activation_j_mol` is Ea; `source` says where they come from."""

    ln_frequency: float
    activation_j_mol: float
    source: str


def from_entropy(enthalpy_j_mol: float, entropy_j_mol_k: float, at_c: float, source: str) -> ArrheniusParameters:
    """Parameters from activation enthalpy and entropy: A = (k_B T / h) exp(dS / R) at `at_c`."""
    ln_a = math.log(BOLTZMANN_OVER_PLANCK * (at_c + ZERO_C_IN_K)) + entropy_j_mol_k / GAS_CONSTANT
    return ArrheniusParameters(ln_a, enthalpy_j_mol, source)


ARRHENIUS_SETS: dict[str, ArrheniusParameters] = {
    "liver": from_entropy(
        2.768e5, 553.5, 50.0, "pig liver, half coagulated: Jacques et al. 1991, dH 2.768e5, dS 553.5"
    ),
    "skin": ArrheniusParameters(math.log(3.1e98), 6.28e5, "skin, Henriques 1947 (Arch Pathol 43:489)"),
    "brain": ArrheniusParameters(
        math.log(3.1e98),
        6.28e5,
        "Henriques' parameters, as used in laser therapy of the brain",
    ),
}

# Gauss-Legendre nodes on [0, 1]: up to 20 degC between two samples five points hold 1e-4 (liver), 3e-3 (skin).
_LEGENDRE = np.polynomial.legendre.leggauss(5)
_NODES, _WEIGHTS = 0.5 * _LEGENDRE[0] + 0.5, 0.5 * _LEGENDRE[1]


def arrhenius_rate(temperature_c: NDArray[np.float64], parameters: ArrheniusParameters) -> NDArray[np.float64]:
    """Damage rate in 1/s at `temperature_c`."""
    kelvin = np.asarray(temperature_c, dtype=np.float64) + ZERO_C_IN_K
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(parameters.ln_frequency - parameters.activation_j_mol / (GAS_CONSTANT * kelvin)))


def arrhenius_damage(
    temperature_c: NDArray[np.floating[Any]], times_s: NDArray[np.floating[Any]], *, tissue: str = "liver"
) -> NDArray[np.floating[Any]]:
    """Damage integral Omega of a history (T, ...) in degC at `times_s` (T,); temperature linear between samples.

    `tissue` names a row of ARRHENIUS_SETS. NaN where a sample is missing. Raises ValueError for an
    unknown set, times that do not rise, shapes that do not match.
    """
    if tissue not in ARRHENIUS_SETS:
        raise ValueError(f"no Arrhenius parameters named {tissue!r}; known: {', '.join(sorted(ARRHENIUS_SETS))}")
    history, times = np.asarray(temperature_c), np.asarray(times_s, dtype=np.float64)
    check_times(history, times)
    omega = np.zeros(history.shape[1:])
    for index, step_s in enumerate(np.diff(times)):
        omega += damage_step(history[index], history[index + 1], float(step_s), ARRHENIUS_SETS[tissue])
    return omega.astype(real_dtype(history))


def log_slope_per_c(temperature_c: NDArray[np.float64], parameters: ArrheniusParameters) -> NDArray[np.float64]:
    """Change of ln(rate) for one degC, Ea / (R T^2): what an error of temperature means for the damage."""
    kelvin = np.asarray(temperature_c, np.float64) + ZERO_C_IN_K
    return parameters.activation_j_mol / (GAS_CONSTANT * kelvin * kelvin)


def damage_step(
    start_c: NDArray[np.floating[Any]],
    end_c: NDArray[np.floating[Any]],
    step_s: float,
    parameters: ArrheniusParameters,
) -> NDArray[np.float64]:
    """Omega gained while the temperature runs linearly from `start_c` to `end_c` in `step_s`."""
    start, end = np.asarray(start_c, np.float64), np.asarray(end_c, np.float64)
    gain = np.zeros(start.shape)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        gain += weight * arrhenius_rate(start + (end - start) * node, parameters)
    return gain * step_s
