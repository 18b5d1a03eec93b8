"""From a device's clock to service time, by the message that travelled fastest.

Every message gives `receive - device` = clock offset + delay, and delay is never negative, so the
smallest value within a window is the best bound of the offset (minimum-delay filter, as in NTP's
clock filter, RFC 5905 section 10). Older minima are raised by the drift that the device's clock may
have had since. The aligned time is therefore never later than the receive time.
"""

from collections import deque
from typing import NamedTuple

from guidance.units import NS_PER_MS, NS_PER_S


class Aligned(NamedTuple):
    """One time stamp in service time. `valid` False: `time_ns` is the receive time and `reason` says why."""

    time_ns: int
    valid: bool
    reason: str = ""


class ClockAlignment:
    """Alignment of one device's clock; feed it every message of the device in order of arrival.

    `jump_ns`: a stamp this much earlier or later than the alignment allows is refused. When
    `settle` refused stamps in a row, over at least `settle_ns`, agree on a new offset, the clock
    was stepped and the alignment starts anew (counted in `restarts`).
    """

    def __init__(
        self,
        window_ns: int = 30 * NS_PER_S,
        drift_ppm: int = 100,
        jump_ns: int = 500 * NS_PER_MS,
        settle: int = 10,
        settle_ns: int = NS_PER_S // 2,
    ) -> None:
        self._window_ns = window_ns
        self._drift_ppm = drift_ppm
        self._jump_ns = jump_ns
        self._settle = settle
        self._settle_ns = settle_ns
        self._bucket_ns = max(1, window_ns // 256)
        self._minima: deque[tuple[int, int]] = deque()  # (receive time, key), keys rising
        self._offset_ns = 0
        self._seen: dict[str, int] = {}  # source -> its last device time
        self._accepted: dict[str, int] = {}  # source -> its last device time that was believed
        self._odd = (0, 0, 0)  # refused stamps that agree: how many, since when, last offset
        self.valid = False
        self.reason = "no message yet"
        self.restarts = 0
        self.refused = 0

    @property
    def offset_ns(self) -> int:
        """Service time minus device time, as known now; 0 before the first stamp."""
        return self._offset_ns

    def to_service_ns(self, device_ns: int) -> int:
        """Service time of a device time under the present alignment; ValueError before there is one."""
        if not self._minima:
            raise ValueError(f"device time {device_ns} cannot be placed: {self.reason}")
        return device_ns + self._offset_ns

    def align(self, device_ns: int, receive_ns: int, source: str = "") -> Aligned:
        """Take in the stamp of a message that arrived at `receive_ns` and place it in service time.

        Refused with the reason, and placed at the receive time: no device time (0), the stamp that
        the same `source` (tool, image) sent before, a stamp that went back, a stamp far behind or
        ahead of the alignment.
        """
        reason = self._judge(device_ns, receive_ns, source)
        self.valid, self.reason = not reason, reason
        self._seen[source] = device_ns
        if reason:
            self.refused += 1
            return Aligned(receive_ns, False, reason)
        self._accepted[source] = device_ns
        return Aligned(device_ns + self._offset_ns, True)

    def _judge(self, device_ns: int, receive_ns: int, source: str) -> str:
        if device_ns <= 0:
            return "no device time"
        if device_ns == self._seen.get(source):
            return "repeated device time"
        delta = receive_ns - device_ns
        excess = delta - (self._minima[0][1] + self._aged(receive_ns)) if self._minima else 0
        if abs(excess) <= self._jump_ns:
            self._odd = (0, 0, 0)
            if device_ns <= self._accepted.get(source, 0):
                return "device time went back"
        elif self._settled(delta, receive_ns):
            self._minima.clear()
            self._accepted.clear()
            self._odd = (0, 0, 0)
            self.restarts += 1
        else:
            side = "behind" if excess > 0 else "ahead of"
            return f"device time is {abs(excess) / NS_PER_S:.3f} s {side} its clock"
        self._push(delta, receive_ns)
        return ""

    def _settled(self, delta: int, receive_ns: int) -> bool:
        count, since_ns, last = self._odd
        if not count or abs(delta - last) > self._jump_ns:
            count, since_ns = 0, receive_ns
        self._odd = (count + 1, since_ns, delta)
        return count >= self._settle and receive_ns - since_ns >= self._settle_ns

    def _aged(self, receive_ns: int) -> int:
        return receive_ns * self._drift_ppm // 1_000_000

    def _push(self, delta: int, receive_ns: int) -> None:
        minima = self._minima
        key = delta - self._aged(receive_ns)
        while minima and minima[-1][1] >= key:
            minima.pop()
        if not minima or receive_ns - minima[-1][0] >= self._bucket_ns:
            minima.append((receive_ns, key))
        while len(minima) > 1 and receive_ns - minima[0][0] > self._window_ns:
            minima.popleft()
        self._offset_ns = min(minima[0][1] + self._aged(receive_ns), delta)
