"""When a simulated device sent what: the other end of the device-to-consumer latency."""

import math
from collections import OrderedDict

import numpy as np

from devices.messages import AnyMessage, Image, Pose

_KEPT = 20_000
_KINDS: tuple[tuple[type, str], ...] = ((Pose, "pose"), (Image, "image"))


def stream_kind(message: AnyMessage) -> str:
    """`pose` or `image` for what devices stream, else empty."""
    return next((kind for type_, kind in _KINDS if isinstance(message, type_)), "")


class SendLog:
    """Send time by kind, device time and who it is about (tool or image); the oldest entries are forgotten.

    Times are whatever clock the driver passes: CLOCK_MONOTONIC when live, virtual time otherwise.
    """

    def __init__(self) -> None:
        self._sent: OrderedDict[tuple[str, int, str], int] = OrderedDict()

    def note(self, message: AnyMessage, sent_ns: int) -> None:
        """Remember that `message` left at `sent_ns`."""
        kind = stream_kind(message)
        if not kind or not message.device_time_ns:
            return
        about = message.moving if isinstance(message, Pose) else message.name
        self._sent[kind, message.device_time_ns, about] = sent_ns
        self._sent.setdefault((kind, message.device_time_ns, ""), sent_ns)
        while len(self._sent) > _KEPT:
            self._sent.popitem(last=False)

    def sent_ns(self, kind: str, device_time_ns: int, about: str) -> int | None:
        """When the message of that kind and device time about `about` was sent.

        Of one that is not known by that name, the first with this time; None where there is none.
        """
        exact = self._sent.get((kind, device_time_ns, about))
        return self._sent.get((kind, device_time_ns, "")) if exact is None else exact


class Latencies:
    """A histogram of latencies with 2 % buckets from 1 us to 100 s: constant cost, exact maximum."""

    _FINEST_MS = 1e-3
    _RATIO = math.log(1.02)
    _BUCKETS = 931

    def __init__(self) -> None:
        self._counts = np.zeros(self._BUCKETS, dtype=np.int64)
        self._max_ms = 0.0

    def add(self, value_ms: float) -> None:
        """Count one value."""
        bucket = int(math.log(max(value_ms, self._FINEST_MS) / self._FINEST_MS) / self._RATIO)
        self._counts[min(bucket, self._BUCKETS - 1)] += 1
        self._max_ms = max(self._max_ms, value_ms)

    def summary(self) -> dict[str, float]:
        """n, p50, p99, max in ms; only n where nothing was counted. Percentiles are bucket tops."""
        count = int(self._counts.sum())
        if count == 0:
            return {"n": 0}
        reached = np.cumsum(self._counts)

        def percentile(share: float) -> float:
            bucket = int(np.searchsorted(reached, share * count))
            return round(min(self._FINEST_MS * math.exp(self._RATIO * (bucket + 1)), self._max_ms), 4)

        return {"n": count, "p50": percentile(0.5), "p99": percentile(0.99), "max": round(self._max_ms, 4)}
