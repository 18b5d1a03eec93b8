"""Names and qualities: how OpenIGTLink's habits map to the room's words.

| on the wire | here |
|---|---|
| device or tool name `StylusToTracker` | moving `Stylus`, fixed `Tracker` |
| any other name | moving = name, fixed = the link's `pose_frame` |
| image name `Image_Reference` | frame `Reference` (the convention of PLUS) |
| metadata `Frame` | overrides the frame of an image or of points |
| metadata `Status`, `TransformStatus`, `<tool>Status`, `<tool>TransformStatus`, `TransformValid` | quality |
| metadata `Number`, `FrameNumber` | the device's own sample or acquisition number |
| metadata `IGTL_DEVICE_NAME` | a name too long for the 20 bytes of the header (the convention of PLUS) |
"""

import re
from functools import lru_cache

import msgspec

from devices.quality import Quality

_TRANSFORM_NAME = re.compile(r"(.+?)To([A-Z].*)")
_IMAGE_NAME = re.compile(r".+_([A-Z][A-Za-z0-9]*)")

LONG_NAME = "IGTL_DEVICE_NAME"
FRAME, NUMBER, STATUS, KIND, NAME, MOVING, FIXED = "Frame", "Number", "Status", "Kind", "Name", "Moving", "Fixed"
VALUES, EVIDENCE = "Values", "Evidence"
TRANSFORM_STATUS, TRANSFORM_VALID, FRAME_NUMBER = "TransformStatus", "TransformValid", "FrameNumber"
RESERVED = frozenset({LONG_NAME, FRAME, NUMBER, STATUS, KIND, NAME, EVIDENCE, FRAME_NUMBER})

# What PlusServer writes (igsioCommon::ConvertToolStatusToString), and our own words. Anything else is not proven.
_QUALITY = {
    "OK": Quality.OK,
    "SWITCH1_IS_ON": Quality.OK,
    "SWITCH2_IS_ON": Quality.OK,
    "SWITCH3_IS_ON": Quality.OK,
    "MISSING": Quality.MISSING,
    "OUT_OF_VIEW": Quality.MISSING,
    "REQ_TIMEOUT": Quality.MISSING,
    "PATH_NOT_FOUND": Quality.MISSING,
    "SUSPECT": Quality.SUSPECT,
}
_VALID = {"TRUE": Quality.OK, "1": Quality.OK}


class Naming(msgspec.Struct, frozen=True):
    """Frames of a link whose messages do not name theirs."""

    pose_frame: str = "Tracker"
    image_frame: str = "RAS"
    point_frame: str = "RAS"


@lru_cache(maxsize=1024)
def split_transform_name(name: str, fixed: str) -> tuple[str, str]:
    """(moving, fixed) of a transform name; `fixed` where the name says nothing."""
    match = _TRANSFORM_NAME.fullmatch(name)
    return (match[1], match[2]) if match else (name, fixed)


@lru_cache(maxsize=1024)
def image_frame(name: str, default: str) -> str:
    """The frame that an image's name ends with, or `default`."""
    match = _IMAGE_NAME.fullmatch(name)
    return match[1] if match else default


def quality_of(tags: dict[str, str], *keys: str) -> Quality:
    """Quality by the first of `keys` that is there, OK where none is; a status that is not known is INVALID."""
    for key in keys:
        status = tags.get(key)
        if status is not None:
            table = _VALID if key == TRANSFORM_VALID else _QUALITY
            return table.get(status.strip().upper(), Quality.INVALID)
    return Quality.OK


def number_of(tags: dict[str, str]) -> int:
    """The device's own number, -1 where it gives none that can be read."""
    text = tags.get(NUMBER, tags.get(FRAME_NUMBER, ""))
    return int(text) if text.isdecimal() and len(text) < 19 else -1
