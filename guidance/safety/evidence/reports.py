"""Evidence that devices report of themselves: interlocks, power, status codes, X-ray dose."""

from collections.abc import Mapping

from guidance.safety.facts import Fact, Facts
from guidance.timing.streams import StreamState
from guidance.units import ms

# values of a reading that are facts as they are
TOLD = frozenset(
    {"coolant_ok", "coupling_ok", "cavitation", "r_wave_sync", "kerma_mgy", "kap_gycm2", "fluoroscopy_min"}
)
XRAY = frozenset({"kerma_mgy", "kap_gycm2", "fluoroscopy_min"})
# OpenIGTLink status codes that mean that the device itself is not well
FAULT_CODES = frozenset({2, 3, 10, 11, 15, 16, 18, 19})
SETTLES_NS = ms(300)  # a device gets this long to obey


def reading_facts(facts: Facts, source: str, values: Mapping[str, float], now_ns: int) -> None:
    """What a reading says, as it says it."""
    for name in TOLD & values.keys():
        facts.set(name, source, Fact(float(values[name]), now_ns))


def dose_age(facts: Facts, state: StreamState, now_ns: int) -> None:
    """How long an X-ray device has told no dose."""
    facts.set("xray_dose_age_ms", state.settings.name, Fact(state.age_ms(now_ns), now_ns, state.received > 0))


def forbidden_power(facts: Facts, device: str, power_w: float, off_since_ns: int, now_ns: int) -> None:
    """Power that a device emits though nothing permits it; `off_since_ns` 0 = energy is permitted."""
    off = off_since_ns > 0 and now_ns - off_since_ns > SETTLES_NS
    facts.set("forbidden_power_w", device, Fact(power_w if off else 0.0, now_ns))


def device_fault(facts: Facts, source: str, code: int, now_ns: int) -> None:
    """The status code that a device told, 0 where it is no fault."""
    facts.set("device_fault", source, Fact(float(code if code in FAULT_CODES else 0), now_ns))


class EnergyTime:
    """For how long energy may have flowed: while it is permitted, and until the device has settled after that."""

    def __init__(self) -> None:
        self.passed_ns = 0
        self._last_ns = self._settled_ns = 0
        self._permitted = False

    def measure(self, permitted: bool, now_ns: int) -> None:
        """Time has come to `now_ns`; what began or ended meanwhile counts from the look before."""
        if permitted or self._permitted:
            self._settled_ns = now_ns + SETTLES_NS
        if self._last_ns:
            self.passed_ns += max(min(now_ns, self._settled_ns) - self._last_ns, 0)
        self._last_ns, self._permitted = now_ns, permitted
