"""What one thermometry stream is told once: sequence, tissue, baseline, masks."""

from dataclasses import dataclass

from guidance.errors import SettingsError
from guidance.thermometry.baselines import BASELINES
from guidance.thermometry.prf import DEFAULT_ALPHA_PPM, degrees_per_radian


@dataclass(frozen=True, kw_only=True)
class ThermometrySettings:
    """Settings of one image stream; every fault is reported at once as SettingsError.

    `echo_time_s` and `more_echo_times_s` are the echoes in the order in which they arrive;
    `field_t` is the real field. `t0_c` is the measured temperature before heating and
    `t0_sigma_c` its uncertainty. `drift_order` is -1 (off) or 0..2; with `drift_region` set at the
    pipeline the fit uses that region only. `noise` is the standard deviation of the real part of
    the signal; None measures it on the reference dynamics.
    """

    echo_time_s: float
    field_t: float
    t0_c: float
    t0_sigma_c: float = 0.5
    more_echo_times_s: tuple[float, ...] = ()
    alpha_ppm: float = DEFAULT_ALPHA_PPM
    phase_sign: int = 1
    baseline: str = "mean"
    reference_dynamics: int = 4
    drift_order: int = 0
    sigma_display_c: float = 3.0
    sigma_dose_c: float = 1.5
    mask_fraction: float = 0.15
    noise: float | None = None
    valid_share_min: float = 0.8
    cooling_alarm_c: float | None = 5.0  # None where cold is meant: cryo, cooled tips
    fastest_c_per_s: float = 10.0  # a step beyond what this allows and 8 sigma ends a voxel's track
    max_gap_s: float = 5.0
    missed_frames_max: int = 3
    void_share: float = 0.0  # a voxel that falls below this share of its reference's signal (ice) has no temperature
    fat: str = "ignore"  # "mask": no temperature in fat; "model": fat taken out of every echo; both need three echoes
    fat_share: float = 0.5  # of a voxel's signal, from which it counts as fat
    slow_frame_s: float = 2.0
    fast_heating_c_per_s: float = 0.5

    def __post_init__(self) -> None:
        faults = []
        for echo in self.echo_times_s:
            try:
                degrees_per_radian(echo, self.field_t, self.alpha_ppm, self.phase_sign)
            except ValueError as fault:
                faults.append(str(fault))
        rules = (
            ("t0_c", -10.0 <= self.t0_c <= 45.0, "a measured temperature in degC before heating"),
            ("t0_sigma_c", 0.0 <= self.t0_sigma_c <= 5.0, "0..5 degC"),
            ("baseline", self.baseline in BASELINES, "one of " + ", ".join(sorted(BASELINES))),
            ("reference_dynamics", self.reference_dynamics >= 1, "at least 1"),
            ("drift_order", self.drift_order in (-1, 0, 1, 2), "-1 (off), 0, 1 or 2"),
            ("sigma_dose_c", 0.0 < self.sigma_dose_c <= self.sigma_display_c, "above 0, at most sigma_display_c"),
            ("mask_fraction", 0.0 < self.mask_fraction < 1.0, "between 0 and 1"),
            ("noise", self.noise is None or self.noise > 0.0, "above 0, or None to measure it"),
            ("fat", self.fat in ("ignore", "mask", "model"), "ignore, mask or model"),
            ("fat", self.fat == "ignore" or len(self.echo_times_s) >= 3, "ignore, or at least three echoes"),
            ("void_share", 0.0 <= self.void_share < 1.0, "0..1"),
            ("fat_share", 0.0 < self.fat_share <= 1.0, "above 0, at most 1"),
            ("max_gap_s", self.max_gap_s > 0.0, "above 0 s"),
        )
        faults += [f"{name} is {getattr(self, name)!r}; needed: {need}" for name, right, need in rules if not right]
        if faults:
            raise SettingsError("thermometry", faults)

    @property
    def echo_times_s(self) -> tuple[float, ...]:
        """All echoes in order of arrival."""
        return (self.echo_time_s, *self.more_echo_times_s)

    def degrees_per_radian(self, echo: int = 0) -> float:
        """degC per radian of the echo with this index, with its sign."""
        return degrees_per_radian(self.echo_times_s[echo], self.field_t, self.alpha_ppm, self.phase_sign)
