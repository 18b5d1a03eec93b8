"""A recorded series as a scanner: MR, CT, X-ray or ultrasound frames as images at their times."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from devices.messages import AnyMessage, Image
from devices.quality import Quality
from devices.recorded.errors import RecordedDataError
from devices.recorded.files import find, read_series
from devices.recorded.playback import RecordedPeer, Schedule
from devices.recorded.volume import Pixels, Series, read_only

_NS = 1_000_000_000

# What is said of a frame: suffix of the image's name, component, and how its pixels come from the frame's.
_Part = tuple[str, str, Callable[[Any], Any]]
COMPONENTS: dict[str, tuple[_Part, ...]] = {
    "complex": (("", "complex", lambda frame: frame),),
    "magnitude": (("", "magnitude", np.abs),),
    "magnitude_phase": (("_magnitude", "magnitude", np.abs), ("_phase", "phase", np.angle)),
}


class SeriesPeer(RecordedPeer):
    """Plays a series: one `Image` per frame (two where it is split), number 0, 1, 2 ..., rising through loops.

    Parameters (all plain TOML values):
        path: file or folder; `${GUIDANCE_DATA}` and the like come from `environment`.
        name: the link id that it speaks on.
        kind: a row of `devices.recorded.files.KINDS`, or "auto" to tell by the name.
        component: of complex frames, "complex" (as they are), "magnitude", or "magnitude_phase": two images,
            `<image_name>_magnitude` and `<image_name>_phase` (radians), of one number and time. Frames that
            are not complex are said as they are.
        timing: "original" | "shifted" | seconds per frame, see `Schedule`; a number also serves files
            that hold no times.
        loop: start again after the last frame, time running on.
        image_name: the images' message name.
        assume_space: patient space of a file that names none.
        tags: more tags, over those of the file.
        seed: accepted because every peer of a scenario is given one; a recording has no chance in it.

    Images are in the frame "RAS", or "Image" where the recording has no patient position.
    Raises RecordedDataError where the file cannot be used, ValueError for a parameter that cannot.
    """

    def __init__(
        self,
        path: str,
        name: str = "scanner",
        *,
        start_ns: int = 0,
        kind: str = "auto",
        component: str = "complex",
        timing: str | float = "shifted",
        loop: bool = False,
        image_name: str = "Image",
        assume_space: str | None = None,
        tags: Mapping[str, str] | None = None,
        environment: Mapping[str, str] = os.environ,
        seed: int = 0,
    ) -> None:
        if component not in COMPONENTS:
            raise ValueError(f"component is one of {sorted(COMPONENTS)}, not {component!r}")
        file = find(path, environment)
        period_s = None if isinstance(timing, str) else float(timing)
        self._series = read_series(file, kind=kind, period_s=period_s, assume_space=assume_space)
        self._image_name = image_name
        self._tags = dict(self._series.tags) | dict(tags or {})
        self._parts = COMPONENTS[component] if _is_complex(file, self._series, component) else ()
        schedule = Schedule(
            self._series.times_s.tolist(),
            start_ns=start_ns,
            timing=timing,
            loop=loop,
            first_device_ns=self._series.first_ns,
        )
        super().__init__(name, schedule, self._moment)

    def _moment(self, index: int, saying: int, device_time_ns: int) -> list[AnyMessage]:
        frame = self._series.frames[index]
        if not self._parts:
            return [self._image(index, saying, device_time_ns, self._image_name, frame, self._tags)]
        return [
            self._image(
                index,
                saying,
                device_time_ns,
                self._image_name + suffix,
                read_only(take(frame)),
                self._tags | {"Component": component},
            )
            for suffix, component, take in self._parts
        ]

    def _image(
        self, index: int, saying: int, device_time_ns: int, name: str, pixels: Pixels, tags: dict[str, str]
    ) -> Image:
        series = self._series
        return Image(
            name=name,
            device_time_ns=device_time_ns,
            pixels=pixels,
            frame=series.frame,
            frame_from_image_mm=series.frame_from_image_mm[index],
            quality=series.qualities[index] if series.qualities else Quality.OK,
            number=saying,
            tags=tags | dict(series.frame_tags[index]) if series.frame_tags else tags,
        )


def _is_complex(path: Path, series: Series, component: str) -> bool:
    is_complex = bool(np.iscomplexobj(series.frames[0]))
    if component != "complex" and not is_complex:
        raise RecordedDataError(
            path, "pixels", f"are {series.frames[0].dtype}, not complex: component {component!r} cannot be had"
        )
    return is_complex
