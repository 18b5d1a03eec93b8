"""Times of one stream's frames for what happens in tissue: their steps are the device's own.

The alignment of a device's clock learns: a message that travelled faster than all before moves every later time back,
and one that is too late to be believed stands at its receive time. For where a tool was that is right; between two
frames it would be time that never passed, and a rate of heating divided by it a wrong one.
"""

from guidance.units import NS_PER_S

FARTHEST_NS = 2 * NS_PER_S  # from the alignment; beyond it the device's clock was stepped
SLEW = 100  # a step is lengthened or shortened by one part in so many, until it agrees with the alignment


class FrameClock:
    """Give it every frame; the times that it returns rise by what the device's clock rose."""

    def __init__(self) -> None:
        self._device_ns = 0
        self._time_ns = 0

    def time_ns(self, device_ns: int, aligned_ns: int) -> int:
        """Time of a frame that the device stamped `device_ns` and the alignment placed at `aligned_ns`, in ns.

        The alignment's own where there is no stamp, where it does not rise, and where the clock was stepped.
        """
        if device_ns <= 0:
            return aligned_ns
        step_ns = device_ns - self._device_ns
        apart_ns = aligned_ns - (self._time_ns + step_ns)
        if step_ns > 0 and abs(apart_ns) <= FARTHEST_NS:
            most_ns = step_ns // SLEW
            self._time_ns += step_ns + min(max(apart_ns, -most_ns), most_ns)
        else:
            self._time_ns = aligned_ns
        self._device_ns = device_ns
        return self._time_ns
