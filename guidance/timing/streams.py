"""Streams: what arrived, what was lost, how old the newest is. One state object a stream."""

from guidance.settings import Stream


class StreamState:
    """Counters and ages of one configured stream. Times are service time in ns."""

    def __init__(self, settings: Stream) -> None:
        self.settings = settings
        self.received = 0
        self.dropped = 0
        self.rejected = 0
        self.last_ns = 0  # receive time of the newest message; 0 = none yet
        self.last_device_ns = 0
        self.last_number = -1
        self.gap_max_ns = 0
        self.not_rising = 0  # frames in a row whose number or device time did not rise

    def arrived(self, now_ns: int, device_ns: int, number: int) -> None:
        """Count one message and see whether its own count or time rose."""
        self.received += 1
        if self.last_ns:
            self.gap_max_ns = max(self.gap_max_ns, now_ns - self.last_ns)
        stuck = (number >= 0 and number <= self.last_number) or (device_ns and device_ns <= self.last_device_ns)
        self.not_rising = self.not_rising + 1 if stuck and self.received > 1 else 0
        self.last_ns = now_ns
        self.last_device_ns = max(self.last_device_ns, device_ns)
        self.last_number = max(self.last_number, number)

    def age_ms(self, now_ns: int) -> float:
        """Age of the newest message in ms; infinite before the first."""
        return (now_ns - self.last_ns) / 1e6 if self.last_ns else float("inf")

    def is_live(self, now_ns: int) -> bool:
        """True while the newest message is younger than the stream's limit."""
        return self.age_ms(now_ns) <= self.settings.limit_ms
