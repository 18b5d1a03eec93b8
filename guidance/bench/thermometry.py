"""Speed of the per-frame thermometry pass: ours, naive NumPy, tuned NumPy, and a memcpy of our traffic.

"naive, same" answers all that ours does; "naive, core" and "tuned, core" do phase difference, temporal
unwrapping, order-0 drift, mask and CEM43 only, without sigma, de-biased dose, variance and marks. Medians
of runs in shuffled order. Ours includes the drift fit. Then the whole way of a frame, from its bytes to the overlay.
Run: python -m guidance.bench.thermometry
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from guidance.bench import frame_path
from guidance.bench.numpy_thermometry import NaiveFullPass, NaivePass, TunedPass
from guidance.thermometry.drift import NO_DRIFT, DriftSample
from guidance.thermometry.kernel import fused_pass
from guidance.thermometry.plain import GRADED_BIT, PassInputs

SIZES = {"128x128x5": (5, 128, 128), "256x256x16": (16, 256, 256), "192x192x64": (64, 192, 192)}
TRAFFIC_BYTES = 51  # read: 2 complex, 4 float, 1 mark; written: 4 float, valid, mark
NAIVE_LIMIT, MEMCPY_LIMIT = 6.5, 2.8
ROUNDS_VOXELS = 40_000_000  # as many rounds as these make
SCALE, NOISE = -7.787516, 3.3


def make_inputs(shape: tuple[int, int, int], seed: int = 0) -> PassInputs:
    """A noisy ellipse with a hot spot in the middle, as complex64 and float32."""
    rng = np.random.default_rng(seed)
    _, row, column = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    tissue = (row / 0.8) ** 2 + (column / 0.9) ** 2 < 1.0
    heat = 20.0 * np.exp(-(row**2 + column**2) / 0.02)
    reference = np.where(tissue, 100.0, 0.0) * np.exp(1j * (2.0 * row + column))
    noise = NOISE * (rng.normal(size=(2, *shape)) + 1j * rng.normal(size=(2, *shape)))
    last = (37.0 + heat + 0.3 * rng.normal(size=shape)).astype(np.float32)
    return PassInputs(
        image=(reference * np.exp(1j * (heat + 0.2) / SCALE) + noise[0]).astype(np.complex64),
        reference=(reference + 0.5 * noise[1]).astype(np.complex64),
        last_c=last,
        before_c=(last - 0.1).astype(np.float32),
        dose_min=np.ones(shape, np.float32),
        variance=np.full(shape, 0.01, np.float32),
        marks=np.full(shape, GRADED_BIT, np.uint8),
        degrees_per_radian=SCALE,
        t0_c=37.0,
        drift_c=NO_DRIFT,
        lead=1.0,
        step_min=0.2 / 60.0,
        noise=NOISE,
        reference_share=0.25,
        model_c=np.zeros(1, np.float32),
        floor=0.1,
        sigma_display_c=3.0,
        sigma_dose_c=1.5,
    )


def interleaved_ms(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each call, all once in every round, in a new order: what ran before decides what the
    cache still holds, and that must not favour one of them.
    """
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    order = np.random.default_rng(1)
    for _ in range(rounds):
        for name in order.permutation(list(calls)):
            started = time.perf_counter()
            calls[name]()
            taken[name].append(1e3 * (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in taken.items()}


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """One row per size and rival: {name, size, ours_ms, peer, peer_ms, ratio, limit, ok}.

    `ratio` is how many times faster ours is than NumPy (limit: at least), and how many times slower
    than the memcpy (limit: at most).
    """
    table: list[dict[str, Any]] = []
    for size, shape in SIZES.items():
        given = make_inputs(shape)
        sample = DriftSample(np.abs(given.reference) > 15.0, 0)
        source = np.ones(int(np.prod(shape)) * TRAFFIC_BYTES // 2, np.uint8)
        target = np.empty_like(source)

        def ours(given: PassInputs = given, sample: DriftSample = sample) -> None:
            sample.fit(given.image, given.reference, given.last_c, SCALE, NOISE, NO_DRIFT)
            fused_pass(given)

        def copy(source: Any = source, target: Any = target) -> None:
            np.copyto(target, source)

        took = interleaved_ms(
            {
                "ours": ours,
                "naive, same": NaiveFullPass(given),
                "naive, core": NaivePass(given),
                "tuned, core": TunedPass(given),
                "memcpy": copy,
            },
            max(5, ROUNDS_VOXELS // int(np.prod(shape)) // (8 if quick else 1)),
        )
        for peer, limit, slower in (
            ("naive, same", NAIVE_LIMIT, False),
            ("naive, core", None, False),
            ("tuned, core", None, False),
            ("memcpy", MEMCPY_LIMIT, True),
        ):
            ratio = took["ours"] / took[peer] if slower else took[peer] / took["ours"]
            row = {"name": "thermometry pass", "size": size, "ours_ms": took["ours"], "peer": peer}
            right = limit is None or (ratio <= limit if slower else ratio >= limit)
            table.append(row | {"peer_ms": took[peer], "ratio": ratio, "limit": limit, "ok": right})
    return table + frame_path.rows(quick)


def main() -> None:
    """Print the table."""
    for row in rows():
        limit = "" if row["limit"] is None else f"  limit {row['limit']}"
        print(
            f"{row['size']:>11}  ours {row['ours_ms']:7.3f} ms  {row['peer']:<12}"
            f" {row['peer_ms']:7.3f} ms  ratio {row['ratio']:5.2f}{limit}  {'ok' if row['ok'] else 'FALLS SHORT'}"
        )


if __name__ == "__main__":
    main()
