"""A simulated C-arm that tells its dose once a second: air kerma, kerma-area product, fluoroscopy time."""

from devices.messages import AnyMessage, Reading


class XRay:
    """Accumulates while it looks; `kerma_mgy_per_s` and the like are what a second of fluoroscopy adds."""

    def __init__(
        self,
        *,
        name: str,
        start_ns: int,
        device: str = "XRay",
        kerma_mgy_per_s: float = 0.3,
        kap_gycm2_per_s: float = 0.03,
        period_s: float = 1.0,
    ) -> None:
        self.name = name
        self._device = device
        self._kerma, self._kap = kerma_mgy_per_s, kap_gycm2_per_s
        self._start_ns = self._due_ns = start_ns
        self._period_ns = round(period_s * 1e9)

    def next_due_ns(self) -> int:
        """The next reading."""
        return self._due_ns

    def advance(self, now_ns: int) -> list[AnyMessage]:
        """Readings due by `now_ns`."""
        said: list[AnyMessage] = []
        while self._due_ns <= now_ns:
            beam_s = (self._due_ns - self._start_ns) / 1e9
            values = {
                "kerma_mgy": self._kerma * beam_s,
                "kap_gycm2": self._kap * beam_s,
                "fluoroscopy_min": beam_s / 60.0,
            }
            said.append(Reading(name=self._device, device_time_ns=self._due_ns, values=values))
            self._due_ns += self._period_ns
        return said

    def accept(self, message: AnyMessage, now_ns: int) -> None:
        """It obeys nobody here."""
