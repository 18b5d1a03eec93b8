"""Quality of a measured value. A missing value is a named state, never NaN, zero or the last value."""

from enum import StrEnum


class Quality(StrEnum):
    """What the device (or our own check) says of a pose or an image."""

    OK = "ok"
    MISSING = "missing"  # the tool is out of view, the frame was not acquired
    INVALID = "invalid"  # the device reports the value and calls it invalid
    SUSPECT = "suspect"  # formally valid, refused by a check of ours (repeated, impossible, late)

    @property
    def usable(self) -> bool:
        """True only where the value may be shown as live."""
        return self is Quality.OK
