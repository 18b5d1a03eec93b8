"""A small fixed frame with everything in it, and the answers that every build must give for it."""

import numpy as np

from guidance.thermometry.plain import GRADED_BIT, PassInputs

SHAPE = (3, 24, 40)


def golden_inputs() -> PassInputs:
    """Heated, cooled, wrapped, noisy, empty and non-finite voxels, made by arithmetic alone."""
    plane, row, column = (axis.astype(np.float64) for axis in np.indices(SHAPE))
    temperature = 37.0 + 2.3 * row + 0.3 * column * (plane - 0.5)
    scale = -7.787516
    magnitude = 100.0 + 3.0 * column - 2.0 * row
    magnitude[:, 3, :5] = 0.0
    reference = magnitude * np.exp(1j * (0.2 * row + 0.13 * column))
    image = reference * np.exp(1j * (temperature - 37.0) / scale) * (1.0 + 0.01 * np.cos(row * column))
    image[1, 5, 6] = complex(np.nan, 1.0)
    image[2, 7, 8] = 1e-3
    last = temperature - 0.4 - 0.01 * column
    before = last - 0.5
    last[0, 0, :7], before[1] = np.nan, np.nan
    return PassInputs(
        image=image.astype(np.complex64),
        reference=reference.astype(np.complex64),
        last_c=last.astype(np.float32),
        before_c=before.astype(np.float32),
        dose_min=(0.01 * row * column).astype(np.float32),
        variance=(1e-4 * row).astype(np.float32),
        marks=np.where(row > 1, GRADED_BIT, 0).astype(np.uint8),
        degrees_per_radian=scale,
        t0_c=37.0,
        drift_c=(0.3, -0.2, 0.1, 0.05, -0.04, 0.02),
        lead=1.0,
        step_min=0.02,
        noise=6.0,
        reference_share=0.25,
        model_c=np.full(1, 0.1, np.float32),
        floor=0.5,
        sigma_display_c=3.0,
        sigma_dose_c=1.5,
    )
